import type { DatasetVersion, Model, TruncationMode } from '@pairwise/api';
import { digestOfFiles, fingerprintOf, type Digest } from '@pairwise/fingerprint';
import { encodingVersion, shardPairs } from '@pairwise/preference';

/** The files of a model that determine the token ids of a text. */
const tokenizerFiles = new Set([
  'tokenizer.json',
  'tokenizer_config.json',
  'chat_template.jinja',
  'generation_config.json',
  'config.json',
]);

/** How long pairs may be, and what happens to longer ones; see `EncodeVersionRequest` in the proto. */
export interface EncodingSettings {
  maxLength: number;
  truncationMode: TruncationMode;
}

/** The fingerprint of everything that determines the token ids of a version's pairs. */
export function encodingFingerprint(
  { digest }: DatasetVersion,
  model: Model,
  { maxLength, truncationMode }: EncodingSettings,
): Digest {
  const files = model.files.filter(({ path }) => tokenizerFiles.has(path));
  const tokenizer = digestOfFiles(files);
  const recipe = { kind: 'encoding', pairs: digest, tokenizer, maxLength, truncationMode, encodingVersion, shardPairs };
  return fingerprintOf(recipe);
}
