import { join } from 'node:path';
import { Artifact, type ExportTarget, type FileInfo } from '@pairwise/api';
import { digestOfFiles } from '@pairwise/fingerprint';
import { usesImportance, type GgufType } from '@pairwise/gguf';
import { formatName, ggufTypeOf, isGguf, mergedTypeOf } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { writeAdapterArtifact } from './adapter.ts';
import { baseModelNameOf } from './baseModelName.ts';
import { inFolder } from './files.ts';
import { writeGgufArtifact, type GgufArtifact } from './gguf.ts';
import { writeGgufAdapterArtifact } from './ggufAdapter.ts';
import { importanceOf } from './importance.ts';
import { writeMergedArtifact } from './merged.ts';
import type { Peers } from './peers.ts';
import { exportWeights, ggufModel, type Source } from './source.ts';
import { storeCard } from './storedCard.ts';

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
    const format = formatName(plan.target.format!);
    // The card of what is verified says how that went.
    if (!isGguf(plan.target)) files.push(await storeCard(deps, source, { format }, signal));
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
      return { type, ...(await writeGguf(deps, folder, source, { baseName, type }, signal)) };
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
    case 'ggufAdapter': {
      const files = await writeGgufAdapterArtifact(folder, { config, adapter: adapter! }, { baseName });
      const { baseType } = format.value;
      if (baseType === undefined) return { type: 'F32', files, caveats: [] };
      const type = ggufTypeOf(baseType, 'gguf_adapter.base_type');
      const options = { baseName: `${baseName}-base`, type, adapter: files[0] };
      const base = await writeGguf(deps, folder, { ...source, adapter: undefined }, options, signal);
      return { type, files: [...files, ...base.files], caveats: base.caveats };
    }
    default:
      throw new TypeError('a target without a format was accepted');
  }
}

/** Writes a GGUF file with its Modelfile, quantised with an importance matrix if the type wants one. */
async function writeGguf(
  deps: ArtifactDeps,
  folder: string,
  source: Source,
  options: { baseName: string; type: GgufType; adapter?: string | undefined },
  signal: AbortSignal,
): Promise<GgufArtifact> {
  const importance = usesImportance(options.type) ? await importanceOf(deps, source, signal) : undefined;
  const model = await ggufModel(source, options.baseName, signal);
  return writeGgufArtifact(folder, model, {
    ...options,
    threads: deps.threads,
    signal,
    ...(importance && { importance }),
  });
}

/** Moves a file to the blob store at once, so that the disk never holds two copies of it. */
async function storeFile(blobs: BlobStore, folder: string, path: string): Promise<FileInfo> {
  const { digest, sizeBytes } = await blobs.putFile(join(folder, path));
  return { path, sizeBytes: BigInt(sizeBytes), digest };
}
