/**
 * `exportOne.ts <folder> merged|<GGUF type>`: makes one artifact without the other services, and then deletes it. tools/bench
 * runs it to measure memory and disk. The folder contains a blob store, and files.json with the base model's files there.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Model, type ExportTarget } from '@pairwise/api';
import { parseDigest, type Digest } from '@pairwise/fingerprint';
import { initialLora, loraLayout, storedBaseModel, storedFolder, targetModules } from '@pairwise/model';
import { openFolder } from '@pairwise/store';
import { uniformStream } from '@pairwise/training';
import { makeArtifact, type ArtifactDeps } from './artifacts.ts';

const [folder, type] = process.argv.slice(2) as [string, string];
const files = JSON.parse(readFileSync(join(folder, 'files.json'), 'utf8')) as {
  path: string;
  digest: Digest;
  sizeBytes: number;
}[];
const blobs = await openFolder(join(folder, 'blobs'));
await using baseModel = await storedBaseModel(files, blobs);
const lora = { r: 16, loraAlpha: 32, targetModules, useRslora: false };
const parameters = initialLora(loraLayout(baseModel.config, lora), uniformStream(0, 'lora'));
const target: ExportTarget = {
  name: type,
  format: type === 'merged' ? { $case: 'merged', value: { dtype: undefined } } : { $case: 'gguf', value: { type } },
};
const source = {
  model: Model.create({ name: 'projects/default/models/bench', dtype: 'BF16' }),
  folder: storedFolder(files, blobs),
  baseModel,
  checkpoint: undefined,
  adapter: { lora, parameters },
  encoding: undefined,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};
// Other services are asked about checkpoints and importance matrices only.
const deps = { blobs, scratch: join(folder, 'scratch'), threads: 1, peers: {} as ArtifactDeps['peers'] };
const plan = { name: `exports/bench/artifacts/${type}`, baseName: 'bench', target };
const artifact = await makeArtifact(deps, source, plan, new AbortController().signal);
const kept = new Set(files.map(({ digest }) => digest));
for (const { digest } of artifact.files) {
  const made = parseDigest(digest);
  if (!kept.has(made)) await blobs.delete(made);
}
process.send!(artifact.files.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), 0));
