import { PairwiseError } from '@pairwise/errors';
import type { GgufType } from '@pairwise/gguf';

/** The error of a GGUF file that does not do what was trained. `problem` follows "the F16 file". */
export function verificationFailed(type: GgufType, problem: string, found: Record<string, string> = {}): PairwiseError {
  return new PairwiseError('VERIFICATION_FAILED', `the ${type} file ${problem}`, { metadata: { type, ...found } });
}
