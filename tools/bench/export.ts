/** Measures exports of a large model: `npm run bench -- export [--layers 32] [--json]`. Reads /proc, so it needs Linux. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeExportModel } from './exportModel.ts';
import { anonymousMb, familyOf } from './family.ts';

export interface ExportFigures {
  /** Of the base model, in GB (1e9 bytes), like all of these. */
  modelGb: number;
  artifacts: Record<string, ArtifactFigures>;
}

interface ArtifactFigures {
  artifactGb: number;
  seconds: number;
  /** Peak of memory that no file backs, of the process and its children together. */
  peakAnonymousMb: number;
  /** Peak of everything on disk, the base model included. */
  peakDiskGb: number;
}

const targets = ['merged', 'F16', 'Q8_0', 'Q4_K_M'];
const sampleMs = 500;

/** Exports a model of Llama 3.1 8B's shape with `layers` layers, with an adapter merged in, once as each type. */
export async function measureExports(layers: number, report: (text: string) => void): Promise<ExportFigures> {
  const folder = mkdtempSync(join(tmpdir(), 'pairwise-export-'));
  try {
    report(`writing a model of ${layers} layers into ${folder} ...`);
    const files = await writeExportModel(folder, layers);
    writeFileSync(join(folder, 'files.json'), JSON.stringify(files));
    const modelGb = rounded(diskGb(folder));
    const artifacts: Record<string, ArtifactFigures> = {};
    for (const target of targets) {
      artifacts[target] = await measure(folder, target);
      report(`${target}: ${JSON.stringify(artifacts[target])}`);
    }
    return { modelGb, artifacts };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function measure(folder: string, target: string): Promise<ArtifactFigures> {
  const began = performance.now();
  const child = fork(new URL('../../services/export/exportOne.ts', import.meta.url), [folder, target]);
  let peakAnonymousMb = 0;
  let peakDiskGb = 0;
  const sampling = setInterval(() => {
    peakAnonymousMb = Math.max(peakAnonymousMb, anonymousMb(familyOf(child.pid!).node));
    peakDiskGb = Math.max(peakDiskGb, diskGb(folder));
  }, sampleMs);
  try {
    let sizeBytes: number | undefined;
    child.once('message', (message) => (sizeBytes = message as number));
    const [code] = (await once(child, 'exit')) as [number | null];
    if (sizeBytes === undefined) throw new Error(`the export as ${target} ended with code ${code}`);
    return {
      artifactGb: rounded(sizeBytes / 1e9),
      seconds: rounded((performance.now() - began) / 1000),
      peakAnonymousMb: rounded(peakAnonymousMb),
      peakDiskGb: rounded(peakDiskGb),
    };
  } finally {
    clearInterval(sampling);
  }
}

const rounded = (figure: number) => Number(figure.toPrecision(3));

/** What the files of a folder take on disk. */
function diskGb(folder: string): number {
  return readdirSync(folder, { recursive: true }).reduce((total, path) => {
    const found = statSync(join(folder, path as string), { throwIfNoEntry: false });
    return total + (found?.isFile() ? (found.blocks * 512) / 1e9 : 0);
  }, 0);
}
