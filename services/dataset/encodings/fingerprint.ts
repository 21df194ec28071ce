import {
  chatTemplateModeToJSON,
  truncationModeToJSON,
  type ChatTemplateMode,
  type DatasetVersion,
  type Model,
  type TruncationMode,
} from '@pairwise/api';
import { digestOfFiles, fingerprintOf, type Digest } from '@pairwise/fingerprint';
import { encodingVersion, shardPairs } from '@pairwise/preference';

/** The files of a model that determine the token ids of a text. */
const tokenizerFiles = new Set([
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'generation_config.json',
  'config.json',
]);

/** See `EncodeVersionRequest` in the proto; every field is set. */
export interface EncodingSettings {
  maxLength: number;
  truncationMode: TruncationMode;
  chatTemplate: ChatTemplateMode;
  chatTemplateDate: string;
}

/** The fingerprint of everything that determines the token ids of a version's pairs. */
export function encodingFingerprint({ digest }: DatasetVersion, model: Model, settings: EncodingSettings): Digest {
  const files = model.files.filter(({ path }) => tokenizerFiles.has(path));
  const tokenizer = digestOfFiles(files);
  const { maxLength, truncationMode, chatTemplate, chatTemplateDate } = settings;
  const recipe = {
    kind: 'encoding',
    pairs: digest,
    tokenizer,
    maxLength,
    truncationMode: truncationModeToJSON(truncationMode),
    chatTemplate: chatTemplateModeToJSON(chatTemplate),
    chatTemplateDate,
    encodingVersion,
    shardPairs,
  };
  return fingerprintOf(recipe);
}
