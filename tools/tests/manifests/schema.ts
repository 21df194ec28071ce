import { join } from 'node:path';
import ts from 'typescript';
import type { KubernetesObject } from './objects.ts';

/** The package with the types of an API group. */
const packages: Record<string, string> = {
  'cert-manager.io': '@kubernetes-models/cert-manager',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'keda.sh': '@kubernetes-models/keda',
};

/** The module with the types of an API version, such as `kubernetes-models/apps/v1`. */
function moduleOf(apiVersion: string): string {
  const group = apiVersion.split('/')[0]!;
  return `${packages[group] ?? 'kubernetes-models'}/${apiVersion}`;
}

const compilerOptions: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2024,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
};

/**
 * Returns what the APIs would refuse in the objects. The type checker sees each object as a literal of its kind's type, so it
 * also refuses unknown keys. The validators of the APIs' schemas check ranges, patterns and enums.
 */
export async function schemaProblems(objects: readonly KubernetesObject[]): Promise<string[]> {
  return [...typeProblems(objects), ...(await Promise.all(objects.map(validatorProblems))).flat()];
}

const nameOf = ({ kind, metadata }: KubernetesObject) => `${kind} ${metadata.name}`;

function typeProblems(objects: readonly KubernetesObject[]): string[] {
  const path = join(import.meta.dirname, 'rendered.ts');
  const lines = objects.map((object, index) => {
    const type = `import(${JSON.stringify(moduleOf(object.apiVersion))}).I${object.kind}`;
    return `export const object${index}: ${type} = ${JSON.stringify(object)};`;
  });
  const host = ts.createCompilerHost(compilerOptions);
  const { readFile, fileExists } = host;
  // The file exists only in memory. It is placed beside this one, so that packages are found.
  host.readFile = (name) => (name === path ? lines.join('\n') : readFile(name));
  host.fileExists = (name) => name === path || fileExists(name);
  const program = ts.createProgram([path], compilerOptions, host);
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file?.fileName === path ? file.getLineAndCharacterOfPosition(start!).line : undefined;
    const message = ts.flattenDiagnosticMessageText(messageText, ' ').replace(/\s+/g, ' ');
    return line === undefined ? message : `${nameOf(objects[line]!)}: ${message}`;
  });
}

async function validatorProblems(object: KubernetesObject): Promise<string[]> {
  const models = (await import(moduleOf(object.apiVersion))) as Record<
    string,
    new (data: unknown) => { validate(): void }
  >;
  const Model = models[object.kind];
  if (Model === undefined) return [`${nameOf(object)}: ${object.apiVersion} does not have this kind`];
  try {
    new Model(object).validate();
    return [];
  } catch (error) {
    return [`${nameOf(object)}: ${(error as Error).message}`];
  }
}
