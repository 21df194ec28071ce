import { join } from 'node:path';
import type { Artifact } from '@pairwise/api';
import { parseDigest } from '@pairwise/fingerprint';
import type { GgufType } from '@pairwise/gguf';
import { ggufTypeOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { sourceType, writeGgufArtifact } from './gguf.ts';
import { ggufModel, type Source } from './source.ts';
import type { LoadedFile } from './verify.ts';

/** The files of an artifact as llama.cpp loads them. They are valid until this is disposed of. */
export interface ArtifactFiles extends AsyncDisposable {
  file: LoadedFile;
  /** The type of the model's file. */
  type: GgufType;
  /** The file of the base model under an adapter; undefined if the artifact is a whole model. */
  basePath: string | undefined;
}

/** Opens an artifact. For an adapter without a file of its base model, one is written into `folder`. */
export async function openArtifactFiles(
  artifact: Artifact,
  { blobs, source, folder }: { blobs: BlobStore; source: Source; folder: string },
  signal: AbortSignal,
): Promise<ArtifactFiles> {
  await using opening = new AsyncDisposableStack();
  const paths: string[] = [];
  for (const { digest } of artifact.files.filter(({ path }) => path.endsWith('.gguf')))
    paths.push(opening.use(await blobs.local(parseDigest(digest))).path);
  const [path = '', includedBase] = paths;
  const over = (basePath: string) => ({ file: { path: basePath, adapterPath: path }, basePath });
  const opened = async (): Promise<Omit<ArtifactFiles, keyof AsyncDisposable>> => {
    if (artifact.format === 'gguf') return { file: { path }, type: typeOf(artifact), basePath: undefined };
    if (includedBase !== undefined) return { ...over(includedBase), type: typeOf(artifact) };
    const base = await ggufModel({ ...source, adapter: undefined }, 'base', signal);
    const type = sourceType(base);
    const { files } = await writeGgufArtifact(folder, base, { baseName: 'base', type, signal });
    return { ...over(join(folder, files[0]!)), type };
  };
  const found = await opened();
  const holds = opening.move();
  return { ...found, [Symbol.asyncDispose]: () => holds.disposeAsync() };
}

function typeOf({ type }: Artifact): GgufType {
  return ggufTypeOf(type, 'artifact.type');
}
