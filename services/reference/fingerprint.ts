import type { FileInfo, Model } from '@pairwise/api';
import { fingerprintOf, type Digest } from '@pairwise/fingerprint';
import { engineVersion } from '@pairwise/training';

/**
 * The fingerprint of a reference: everything besides the tokens that determines its logps: weights, config, graphs and
 * numerics. The model's other files, such as its tokenizer, do not matter, since logps are keyed by token ids. `quantized` is
 * the file with the quantised linear layers; without one, the fingerprint is the one from before there were any, under which
 * logps are stored.
 */
export function referenceFingerprint(
  files: Model['files'],
  numericsProfile: string,
  quantized?: Pick<FileInfo, 'digest'>,
): Digest {
  // The index says which of the weight files are read.
  const named = ['config.json', 'model.safetensors.index.json'];
  const relevant = files.filter(({ path }) => path.endsWith('.safetensors') || named.includes(path));
  const entries = relevant.map(({ path, digest }) => [path, digest]).sort(([a = ''], [b = '']) => (a < b ? -1 : 1));
  return fingerprintOf({
    kind: 'reference',
    files: entries,
    engineVersion,
    numericsProfile,
    quantized: quantized?.digest,
  });
}
