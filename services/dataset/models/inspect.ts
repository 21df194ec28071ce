import { InspectModelResponse, type Model } from '@pairwise/api';
import { PairwiseError, type Reason } from '@pairwise/errors';
import { ggufObstacle, windowCaveat } from '@pairwise/gguf';
import { parameterCount, readBaseModel, type BaseModel } from '@pairwise/model';
import { readJson, type ModelFolder } from '@pairwise/safetensors';
import { statusOf } from '@pairwise/rpc';
import { openTokenizer, readTokenizerFiles, type Limitations } from '@pairwise/tokenizer';

/** Reasons that make a model untrainable, as opposed to unreachable. */
const obstacles = new Set<Reason>([
  'INVALID_MODEL',
  'INVALID_FILE',
  'UNSUPPORTED_ARCHITECTURE',
  'UNSUPPORTED_CONFIG',
  'UNSUPPORTED_FORMAT',
  'MISSING_TENSOR',
  'WRONG_SHAPE',
]);

/** What the settings and the weight headers say about a model. */
export type ModelDescription = Pick<
  Model,
  'architecture' | 'parameterCount' | 'dtype' | 'maxLength' | 'vocabularySize'
>;

const unknown: ModelDescription = {
  architecture: '',
  parameterCount: 0n,
  dtype: '',
  maxLength: 0,
  vocabularySize: 0,
};

function describe({ config, weights }: BaseModel): ModelDescription {
  const sizes = new Map<string, number>();
  for (const { dtype, length } of weights.values()) sizes.set(dtype, (sizes.get(dtype) ?? 0) + length);
  const [[dtype] = ['']] = [...sizes].sort(([, a], [, b]) => b - a);
  return {
    architecture: config.architecture,
    parameterCount: BigInt(parameterCount(config)),
    dtype,
    maxLength: config.maxLength,
    vocabularySize: config.vocabularySize,
  };
}

/** A model that can be trained, with what it cannot do. */
export type CheckedModel = ModelDescription & Pick<Model, 'warnings'>;

/** Checks that a model can be trained. Throws the first obstacle. */
export async function checkModel(folder: ModelFolder, signal: AbortSignal): Promise<CheckedModel> {
  const baseModel = await readBaseModel(folder);
  const tokenizer = await checkTokenizer(folder, signal);
  const noGguf = ggufObstacles(baseModel, tokenizer).map(({ message }) => `It cannot be exported as GGUF: ${message}.`);
  return { ...describe(baseModel), warnings: [...modelWarnings(baseModel), ...tokenizer.warnings, ...noGguf] };
}

/** What the model cannot do, whatever its tokenizer is. */
function modelWarnings({ config, isTextPart }: BaseModel): string[] {
  const window = ggufObstacle(config) === undefined ? windowCaveat(config) : undefined;
  return [
    ...(isTextPart
      ? ['Only the text part of the model is trained and exported. What comes out cannot read images.']
      : []),
    ...(window === undefined ? [] : [`GGUF: ${window}.`]),
  ];
}

/** Why llama.cpp cannot run the model or its tokenizer. */
function ggufObstacles({ config }: BaseModel, tokenizer: Limitations): PairwiseError[] {
  const model = ggufObstacle(config);
  return [
    ...(model === undefined ? [] : [new PairwiseError('UNSUPPORTED_FORMAT', model)]),
    ...(tokenizer.ggufObstacle === undefined
      ? []
      : [new PairwiseError(tokenizer.ggufObstacle.reason, tokenizer.ggufObstacle.message)]),
  ];
}

interface TokenizerReport extends Limitations {
  hasChatTemplate: boolean;
}

/** Checks that the tokenizer can be opened. Throws the first obstacle. */
async function checkTokenizer(folder: ModelFolder, signal: AbortSignal): Promise<TokenizerReport> {
  const files = await readTokenizerFiles(folder);
  return oneAtATime(async () => {
    await using tokenizer = await openTokenizer(files, { signal });
    return { hasChatTemplate: tokenizer.chatTemplate !== undefined, ...(await tokenizer.limitations()) };
  });
}

let lastCheck: Promise<unknown> = Promise.resolve();

/** Several hostile tokenizers at once would need more memory than there is. */
function oneAtATime<T>(check: () => Promise<T>): Promise<T> {
  const result = lastCheck.then(check);
  lastCheck = result.catch(() => undefined);
  return result;
}

/** Reports what a model folder contains and whether it can be trained. Obstacles are returned, not thrown. */
export async function inspectFolder(folder: ModelFolder, signal: AbortSignal): Promise<InspectModelResponse> {
  const baseModel = await unlessObstacle(readBaseModel(folder));
  const tokenizer = await unlessObstacle(checkTokenizer(folder, signal));
  const description = baseModel instanceof PairwiseError ? await describeUnsupported(folder) : describe(baseModel);
  const report = InspectModelResponse.create({
    ...description,
    obstacles: [baseModel, tokenizer].filter((each) => each instanceof PairwiseError).map(statusOf),
    totalSizeBytes: BigInt(folder.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
  });
  if (tokenizer instanceof PairwiseError) return report;
  const { hasChatTemplate } = tokenizer;
  if (baseModel instanceof PairwiseError) return { ...report, hasChatTemplate };
  const warnings = [...modelWarnings(baseModel), ...tokenizer.warnings];
  const obstaclesToGguf = ggufObstacles(baseModel, tokenizer).map(statusOf);
  const config = JSON.stringify(await readJson(folder, 'config.json'));
  return { ...report, supported: true, hasChatTemplate, warnings, ggufObstacles: obstaclesToGguf, config };
}

/** The report on a source that could not be opened. Throws errors that are not obstacles. */
export function inspectionOf(error: unknown): InspectModelResponse {
  if (!isObstacle(error)) throw error;
  return InspectModelResponse.create({ obstacles: [statusOf(error)] });
}

function isObstacle(error: unknown): error is PairwiseError {
  return error instanceof PairwiseError && obstacles.has(error.reason);
}

async function unlessObstacle<T>(work: Promise<T>): Promise<T | PairwiseError> {
  try {
    return await work;
  } catch (error) {
    if (isObstacle(error)) return error;
    throw error;
  }
}

/** Describes a model that cannot be trained by the name of its architecture, if config.json has one. */
async function describeUnsupported(folder: ModelFolder): Promise<ModelDescription> {
  const config = await unlessObstacle(readJson(folder, 'config.json'));
  // An unreadable config.json is already among the obstacles.
  if (typeof config !== 'object' || config === null || !('architectures' in config)) return unknown;
  const [first] = Array.isArray(config.architectures) ? (config.architectures as unknown[]) : [];
  return { ...unknown, architecture: typeof first === 'string' ? first.slice(0, 100) : '' };
}
