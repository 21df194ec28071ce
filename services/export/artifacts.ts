import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Artifact, type ExportTarget, type FileInfo } from '@pairwise/api';
import { digestOfFiles } from '@pairwise/fingerprint';
import { usesImportance } from '@pairwise/gguf';
import { formatName, ggufTypeOf, mergedTypeOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { writeAdapterArtifact } from './adapter.ts';
import { baseModelNameOf } from './baseModelName.ts';
import { inFolder } from './files.ts';
import { writeGgufArtifact } from './gguf.ts';
import { writeGgufAdapterArtifact } from './ggufAdapter.ts';
import { importanceOf } from './importance.ts';
import { lineageOf } from './lineage.ts';
import { writeMergedArtifact } from './merged.ts';
import { modelCard } from './modelCard.ts';
import type { Peers } from './peers.ts';
import { exportWeights, ggufModel, type Source } from './source.ts';

export interface ArtifactDeps {
  blobs: BlobStore;
  /** Folder for temporary files; may be emptied while no artifact is being made. */
  scratch: string;
  threads: number;
  peers: Peers;
}

export interface ArtifactPlan {
  /** Resource name of the artifact. */
  name: string;
  /** GGUF files are named `<baseName>-<type>.gguf`. */
  baseName: string;
  target: ExportTarget;
}

/** Makes one artifact in its own folder, which is emptied first and removed at the end, and stores its files. */
export async function makeArtifact(
  deps: ArtifactDeps,
  source: Source,
  plan: ArtifactPlan,
  signal: AbortSignal,
): Promise<Artifact> {
  const { blobs, scratch } = deps;
  const folder = join(scratch, ...plan.name.split('/'));
  return inFolder(folder, async () => {
    const { files: names, type, caveats } = await write(deps, folder, source, plan, signal);
    const files: FileInfo[] = [];
    for await (const path of names) files.push(await storeFile(blobs, folder, path));
    const { $case } = plan.target.format!;
    if ($case === 'adapter' || $case === 'merged') {
      const lineage = source.checkpoint && (await lineageOf(deps.peers, source.checkpoint, signal));
      await writeFile(join(folder, 'README.md'), modelCard($case, source.model, lineage));
      files.push(await storeFile(blobs, folder, 'README.md'));
    }
    const format = formatName(plan.target.format!);
    return Artifact.create({ name: plan.name, format, type, digest: digestOfFiles(files), files, caveats });
  });
}

async function write(
  deps: ArtifactDeps,
  folder: string,
  source: Source,
  { baseName, target }: ArtifactPlan,
  signal: AbortSignal,
) {
  const { model, baseModel, adapter } = source;
  const { config } = baseModel;
  const { format } = target;
  switch (format?.$case) {
    case 'gguf': {
      const type = ggufTypeOf(format.value.type, 'gguf.type');
      const importance = usesImportance(type) ? await importanceOf(deps, source, signal) : undefined;
      const options = { baseName, type, signal, ...(importance && { importance }) };
      return { type, ...(await writeGgufArtifact(folder, await ggufModel(source, baseName, signal), options)) };
    }
    case 'merged': {
      const type = mergedTypeOf(format.value.dtype, 'merged.dtype');
      const merged = { base: source.folder, config, weights: exportWeights(source) };
      return {
        type: type ?? model.dtype,
        files: writeMergedArtifact(folder, merged, { type, signal }),
        caveats: [],
      };
    }
    case 'adapter': {
      const base = baseModelNameOf(model);
      return {
        type: 'F32',
        files: await writeAdapterArtifact(folder, { baseModel, adapter: adapter!, base }),
        caveats: [],
      };
    }
    case 'ggufAdapter':
      return {
        type: 'F32',
        files: await writeGgufAdapterArtifact(folder, { config, adapter: adapter! }, { baseName }),
        caveats: [],
      };
    default:
      throw new TypeError('a target without a format was accepted');
  }
}

/** Moves a file to the blob store at once, so that the disk never holds two copies of it. */
async function storeFile(blobs: BlobStore, folder: string, path: string): Promise<FileInfo> {
  const { digest, sizeBytes } = await blobs.putFile(join(folder, path));
  return { path, sizeBytes: BigInt(sizeBytes), digest };
}
