import { existsSync } from 'node:fs';
import { mkdir, open, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  quantizedLinears,
  readBaseModel,
  readQuantizedLinears,
  type BaseModel,
  type BaseQuantization,
} from '@pairwise/model';
import { streamSafetensors, type ModelFolder, type StreamedTensor } from '@pairwise/safetensors';
import { randomConfig, randomTensors, sizeBytes, type ShapeName, type StoredDtype } from './randomModel.ts';

/** A base model to measure with. */
export interface ModelChoice {
  model: ShapeName;
  dtype: StoredDtype;
  /** How the linear layers are stored; `none` is as in the model's file. */
  base: 'none' | Lowercase<BaseQuantization>;
}

/** A base model and the folder that its weights are in. */
export interface LocalModel {
  folder: string;
  baseModel: BaseModel;
}

/**
 * Opens a model with random weights and, if asked for, with quantised linear layers. Files are written on first use and kept in
 * the system's temporary folder; `report` is called before that.
 */
export async function openBenchModel(choice: ModelChoice, report: (text: string) => void): Promise<LocalModel> {
  const { model, dtype, base } = choice;
  const folder = join(tmpdir(), `pairwise-bench-${model}-${dtype}`);
  const config = randomConfig(model, dtype);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeOnce(join(folder, 'model.safetensors'), () => randomTensors(config), report);
  const baseModel = await readBaseModel(await folderAt(folder));
  if (base === 'none') return { folder, baseModel };
  const file = `${base}.safetensors`;
  const quantization = base === 'nf4' ? 'NF4' : 'INT8';
  const files = await folderAt(folder);
  await writeOnce(join(folder, file), () => quantizedLinears(files, baseModel, quantization), report);
  return { folder, baseModel: { ...baseModel, quantized: await readQuantizedLinears(await folderAt(folder), file) } };
}

async function folderAt(folder: string): Promise<ModelFolder> {
  const files = (await readdir(folder)).map(async (path) => {
    return { path, sizeBytes: (await stat(join(folder, path))).size };
  });
  return {
    files: await Promise.all(files),
    async read(path, start, end) {
      await using file = await open(join(folder, path));
      const bytes = new Uint8Array(end - start);
      await file.read(bytes, 0, bytes.length, start);
      return bytes;
    },
  };
}

async function writeOnce(
  path: string,
  make: () => readonly StreamedTensor[],
  report: (text: string) => void,
): Promise<void> {
  if (existsSync(path)) return;
  const tensors = make();
  const totalBytes = tensors.reduce((total, tensor) => total + sizeBytes(tensor), 0);
  report(`writing ${path}, ${(totalBytes / 1e9).toPrecision(3)} GB ...`);
  const partial = `${path}.${process.pid}.part`;
  {
    await using file = await open(partial, 'w');
    for await (const bytes of streamSafetensors(tensors)) await file.writeFile(bytes);
  }
  await rename(partial, path);
}
