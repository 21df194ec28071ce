import { ChatTemplateMode, DatasetVersion, Model, TruncationMode } from '@pairwise/api';
import { expect, test } from 'vitest';
import { encodingFingerprint, type EncodingSettings } from './fingerprint.ts';

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, '0')}`;
const settings: EncodingSettings = {
  maxLength: 512,
  truncationMode: TruncationMode.KEEP_START,
  chatTemplate: ChatTemplateMode.AUTO,
  chatTemplateDate: '2024-07-26',
};
const names = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'generation_config.json',
  'config.json',
];

function fingerprint({
  pairs = 1,
  changed = {},
  ...cut
}: { pairs?: number; changed?: Record<string, string> } & Partial<EncodingSettings>) {
  const digests = { ...Object.fromEntries(names.map((name, n) => [name, digest(n)])), ...changed };
  const files = Object.entries(digests).map(([path, of]) => ({ path, digest: of, sizeBytes: 1n }));
  const version = DatasetVersion.create({ digest: digest(pairs) });
  return encodingFingerprint(version, Model.create({ files }), { ...settings, ...cut });
}

test.each<[string, Parameters<typeof fingerprint>[0]]>([
  ['the pairs', { pairs: 2 }],
  ...names.map((name): [string, Parameters<typeof fingerprint>[0]] => [name, { changed: { [name]: digest(99) } }]),
  ['the maximum length', { maxLength: 513 }],
  ['the truncation mode', { truncationMode: TruncationMode.KEEP_END }],
  ['the chat template mode', { chatTemplate: ChatTemplateMode.NONE }],
  ['the day that the template sees', { chatTemplateDate: '2024-07-27' }],
])('%s changes the fingerprint', (_, change) => {
  expect(fingerprint(change)).not.toBe(fingerprint({}));
});

test('weights and other files do not change the fingerprint', () => {
  const changed = { 'model.safetensors': digest(99), 'README.md': digest(98) };
  expect(fingerprint({ changed })).toBe(fingerprint({}));
});
