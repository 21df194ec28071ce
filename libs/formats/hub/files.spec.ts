import { expect, test } from 'vitest';
import { selectFiles } from './files.ts';

const nothing = () => Promise.reject(new Error('no file is read'));

test('a file that is listed many times is selected once', async () => {
  const names = Array.from({ length: 100_000 }, (_, n) => (n % 2 === 0 ? 'config.json' : 'model.safetensors'));
  expect(await selectFiles(names, nothing)).toEqual(['config.json', 'model.safetensors']);
});

test('an index beside model.safetensors and its weight files are left over from an earlier save', async () => {
  const names = [
    'model.safetensors.index.json',
    'model-00001-of-00001.safetensors',
    'model.safetensors',
    'config.json',
  ];
  expect(await selectFiles(names, nothing)).toEqual(['config.json', 'model.safetensors']);
});

const adapterNames = ['adapter_config.json', 'adapter_model.safetensors', 'adapter_model.bin', 'README.md'];
test.each<[string, string[], string, string]>([
  [
    'an adapter',
    adapterNames,
    'adapter_config.json',
    'this is a PEFT adapter of "org/base", not a whole model; merge it',
  ],
  [
    'a GGUF file',
    ['config.json', 'model-Q4_K_M.gguf', 'pytorch_model.bin'],
    'model-Q4_K_M.gguf',
    'model-Q4_K_M.gguf is a GGUF file, which can run but not be trained; import the model that it was made from',
  ],
  ['a pickle', ['config.json', 'pytorch_model.bin'], 'pytorch_model.bin', 'pytorch_model.bin is a pickle'],
])('%s in place of a model is refused for what it is', async (_, names, field, message) => {
  const read = () => Promise.resolve(Buffer.from('{"base_model_name_or_path": "org/base"}'));
  const refused = selectFiles(names, read);
  await expect(refused).rejects.toMatchObject({ reason: 'UNSUPPORTED_FORMAT', field });
  await expect(refused).rejects.toThrow(message);
});

test('a GGUF file and a pickle are ignored beside a model, and an adapter is refused', async () => {
  const read = () => Promise.resolve(Buffer.from('{"base_model_name_or_path": "org/base"}'));
  for (const name of ['model-Q4_K_M.gguf', 'pytorch_model.bin', 'adapter_model.safetensors']) {
    expect(await selectFiles([name, 'model.safetensors'], nothing)).toEqual(['model.safetensors']);
  }
  for (const weights of ['model.safetensors', 'model.safetensors.index.json']) {
    const refused = selectFiles([...adapterNames, weights], read);
    await expect(refused).rejects.toMatchObject({ reason: 'UNSUPPORTED_FORMAT', field: 'adapter_config.json' });
    await expect(refused).rejects.toThrow(
      'contains a whole model and a PEFT adapter of "org/base"; delete adapter_config.json to import the model without',
    );
  }
});

test('an adapter of an unnamed model is refused as well', async () => {
  for (const config of ['{}', '[]', 'null', '{"base_model_name_or_path": null}']) {
    const refused = selectFiles(adapterNames, () => Promise.resolve(Buffer.from(config)));
    await expect(refused).rejects.toThrow('this is a PEFT adapter, not a whole model');
  }
});
