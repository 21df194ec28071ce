import { open, realpath } from 'node:fs/promises';
import { parse, relative, resolve, sep } from 'node:path';
import { dtypes } from '@pairwise/onnx';
import type { External, Graph } from '@pairwise/onnx';
import { PairwiseError } from '@pairwise/errors';

/** A graph whose weights the runtime can find. */
export interface PlacedGraph {
  readonly graph: Graph;
  /** The folder that the locations in the graph are relative to; undefined without external data. */
  readonly folder: string | undefined;
  /** Tensors that were read into memory, by the location that the graph now gives for them. */
  readonly copies: readonly { readonly path: string; readonly data: Uint8Array }[];
}

/**
 * Makes external data loadable by onnxruntime 1.30, which was found to
 * - memory-map float32 weights in place (no copy, with prepacking off) for a model given as bytes, relative to the folder
 *   of the session entry `model_external_initializers_file_folder_path`, so no file has to be written;
 * - follow symbolic links, but refuse a file whose real path lies outside that folder: the snapshot folders of the
 *   Hugging Face cache are such links, and so is nearly everything a user points at;
 * - refuse absolute locations and `..` out of the folder; accept hard links and sub-folders;
 * - load any offset, also ones where a float lies across its natural alignment.
 * So locations become real paths relative to the root of the file system. A tensor whose offset is no multiple of its
 * element size is read into memory instead: reading it in place is undefined behaviour in C++, whatever it does today.
 *
 * Throws `INVALID_FILE` where a file is missing or ends before its tensors do.
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
  // One read call returns at most 2 GiB.
  while (done < length) {
    const { bytesRead } = await file.read(data, done, Math.min(length - done, 2 ** 30), offset + done);
    if (bytesRead === 0) throw new PairwiseError('INVALID_FILE', `${path} became shorter while it was read`);
    done += bytesRead;
  }
  return data;
}
