import type { InspectModelResponse, Model } from '@pairwise/api';
import { PairwiseError, type Reason } from '@pairwise/errors';
import { parameterCount, readCheckpoint, type Checkpoint } from '@pairwise/model';
import { readJson, type ModelFolder } from '@pairwise/safetensors';
import { statusOf } from '@pairwise/rpc';
import { openTokenizer, readTokenizerFiles } from '@pairwise/tokenizer';

/** Why a model that can be reached cannot be trained. */
const obstacles = new Set<Reason>([
  'INVALID_MODEL',
  'INVALID_FILE',
  'UNSUPPORTED_ARCHITECTURE',
  'UNSUPPORTED_CONFIG',
  'UNSUPPORTED_FORMAT',
  'MISSING_TENSOR',
  'WRONG_SHAPE',
]);

/** What a model is, as far as its settings and the headers of its weights tell. */
export type Described = Pick<Model, 'architecture' | 'parameterCount' | 'dtype' | 'maxLength' | 'vocabularySize'>;

/** Describes a checkpoint that can be trained. */
export function describe({ config, weights }: Checkpoint): Described {
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

/** Checks everything that training needs of a model folder. Throws the first obstacle. */
export async function checkModel(folder: ModelFolder, signal: AbortSignal): Promise<Described> {
  const described = describe(await readCheckpoint(folder));
  await checkTokenizer(folder, signal);
  return described;
}

/** Opens the tokenizer once. Throws the first obstacle. */
async function checkTokenizer(folder: ModelFolder, signal: AbortSignal): Promise<{ hasChatTemplate: boolean }> {
  const files = await readTokenizerFiles(folder);
  return inTurn(async () => {
    await using tokenizer = await openTokenizer(files, signal);
    return { hasChatTemplate: tokenizer.chatTemplate !== undefined };
  });
}

let lastCheck: Promise<unknown> = Promise.resolve();

/** One check after the other: hostile tokenizers at once would take more memory than this process has for others. */
function inTurn<T>(check: () => Promise<T>): Promise<T> {
  const turn = lastCheck.then(check);
  lastCheck = turn.catch(() => undefined);
  return turn;
}

/** What a model folder is and whether it can be trained; obstacles are told, not thrown. */
export async function inspectFolder(folder: ModelFolder, signal: AbortSignal): Promise<InspectModelResponse> {
  const checkpoint = await unlessObstacle(readCheckpoint(folder));
  const tokenizer = await unlessObstacle(checkTokenizer(folder, signal));
  const errors = [checkpoint, tokenizer].filter((each) => each instanceof PairwiseError);
  const described = checkpoint instanceof PairwiseError ? await describeUnsupported(folder) : describe(checkpoint);
  return {
    ...described,
    supported: errors.length === 0,
    obstacles: errors.map(statusOf),
    totalSizeBytes: BigInt(folder.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
    hasChatTemplate: !(tokenizer instanceof PairwiseError) && tokenizer.hasChatTemplate,
  };
}

/** What is said of a source that cannot even be opened as a model. */
export function inspectionOf(error: unknown): InspectModelResponse {
  if (!isObstacle(error)) throw error;
  const nothing = { architecture: '', parameterCount: 0n, dtype: '', maxLength: 0, vocabularySize: 0 };
  return { ...nothing, supported: false, obstacles: [statusOf(error)], totalSizeBytes: 0n, hasChatTemplate: false };
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

/** The name of an architecture that is not supported: nothing else of its config.json is understood. */
async function describeUnsupported(folder: ModelFolder): Promise<Described> {
  const nothing = { architecture: '', parameterCount: 0n, dtype: '', maxLength: 0, vocabularySize: 0 };
  const config = await unlessObstacle(readJson(folder, 'config.json'));
  // A config.json that cannot be read is the obstacle which led here.
  if (typeof config !== 'object' || config === null || !('architectures' in config)) return nothing;
  const [first] = Array.isArray(config.architectures) ? (config.architectures as unknown[]) : [];
  return { ...nothing, architecture: typeof first === 'string' ? first.slice(0, 100) : '' };
}
