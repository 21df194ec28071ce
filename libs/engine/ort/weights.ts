import { open, realpath } from 'node:fs/promises';
import { parse, relative, resolve, sep } from 'node:path';
import { dtypes } from '@pairwise/onnx';
import type { External, Graph } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';

/** A graph with weights that the runtime can find. */
export interface PlacedGraph {
  readonly graph: Graph;
  /** The folder that the graph's locations are relative to; undefined if there is no external data. */
  readonly folder: string | undefined;
  /** Tensors that were read into memory, and their new locations in the graph. */
  readonly copies: readonly { readonly path: string; readonly data: Uint8Array }[];
}

/**
 * Makes external data loadable by onnxruntime 1.30. For a model given as bytes, it was found to
 * - memory-map weights in place (with prepacking off), relative to the folder in the session entry
 *   `model_external_initializers_file_folder_path`, so that no file has to be written;
 * - follow symbolic links, but refuse a file whose real path is outside that folder. The snapshot folders of the Hugging
 *   Face cache consist of such links, and so may any folder of a user;
 * - refuse absolute locations and `..` out of the folder, but accept hard links and sub-folders;
 * - load any offset, even one that is not aligned to the size of a float.
 *
 * So locations become real paths relative to the root of the file system. A tensor whose offset is not a multiple of its
 * element size is read into memory instead, because reading it in place is undefined behaviour in C++.
 *
 * Throws `INVALID_FILE` if a file is missing or too short for its tensors.
 */
export async function placeWeights(graph: Graph, folder: string): Promise<PlacedGraph> {
  if (graph.externals.length === 0) return { graph, folder: undefined, copies: [] };
  const files = new Map<string, Promise<{ path: string; size: number }>>();
  const copies: { path: string; data: Uint8Array }[] = [];
  const externals: External[] = [];
  for (const external of graph.externals) {
    const { location, offset, length } = external.data;
    if (!files.has(location)) files.set(location, inspect(resolve(folder, location), location));
    const { path, size } = await files.get(location)!;
    if (offset + length > size) {
      throw new PairwiseError(
        'INVALID_FILE',
        `${location} ends at byte ${size}, but ${external.value.name} at ${offset + length}`,
      );
    }
    if (offset % dtypes[external.value.dtype].bytes === 0) {
      externals.push({ ...external, data: { location: fromRoot(path), offset, length } });
    } else {
      const copy = `copied/${copies.length}`;
      copies.push({ path: copy, data: await read(path, offset, length) });
      externals.push({ ...external, data: { location: copy, offset: 0, length } });
    }
  }
  const { root } = parse((await files.values().next().value!).path);
  return { graph: { ...graph, externals }, folder: root, copies };
}

async function inspect(path: string, location: string): Promise<{ path: string; size: number }> {
  try {
    const real = await realpath(path);
    await using file = await open(real);
    return { path: real, size: (await file.stat()).size };
  } catch (cause) {
    throw new PairwiseError('INVALID_FILE', `the weights file ${location} cannot be read`, { cause });
  }
}

function fromRoot(path: string): string {
  return relative(parse(path).root, path).split(sep).join('/');
}

async function read(path: string, offset: number, length: number): Promise<Uint8Array> {
  await using file = await open(path);
  const data = new Uint8Array(length);
  let done = 0;
  // A read call returns at most 2 GiB.
  while (done < length) {
    const { bytesRead } = await file.read(data, done, Math.min(length - done, 2 ** 30), offset + done);
    if (bytesRead === 0) throw new PairwiseError('INVALID_FILE', `${path} was truncated while it was being read`);
    done += bytesRead;
  }
  return data;
}
