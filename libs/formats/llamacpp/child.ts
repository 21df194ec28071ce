/**
 * The process in which llama.cpp runs. It is separate because llama.cpp aborts its whole process on files that break its
 * assertions, and because quantising and generating would block the service's event loop.
 */
import { decodedLogps, divergence } from './decoder.ts';
import { loadLlama } from './native.ts';
import { loadModel } from './model.ts';
import type { LoadedModel } from './model.ts';
import type { LlamaReply, LlamaRequest, LlamaRequestName, LlamaRequests } from './requests.ts';

const llama = loadLlama(process.argv[2] ?? '');
let opened: LoadedModel | undefined;

function model(): LoadedModel {
  if (!opened) throw new Error('no model is open');
  return opened;
}

const answers: { [Name in LlamaRequestName]: (args: LlamaRequests[Name]['args']) => LlamaRequests[Name]['result'] } = {
  quantize({ input, output, fileType, threads, importance }) {
    const entries = [...importance].map(([name, data]) => ({ name, data, size: data.length }));
    const code = llama.llama_model_quantize(input, output, {
      ...llama.llama_model_quantize_default_params(),
      nthread: threads,
      ftype: fileType,
      imatrix: entries.length === 0 ? null : [...entries, { name: null, data: null, size: 0 }],
      // Bytes of rows in memory at the same time; the default is 8 GiB.
      max_buf_size: 2 ** 28,
    });
    if (code !== 0) throw new Error('llama.cpp cannot quantise the file');
    return null;
  },
  open(args) {
    opened = loadModel(llama, args);
    return opened.info;
  },
  tokenLogps: ({ sequences }) => sequences.map((ids) => decodedLogps(model().decoder, ids)),
  divergence: ({ path, threads, sequences }) => {
    const { contextTokens } = model().info;
    return divergence(
      model().decoder,
      loadModel(llama, { path, adapterPath: undefined, contextTokens, threads }).decoder,
      sequences,
    );
  },
  generate: ({ prompts, options }) => model().generate(prompts, options),
  tokenize: ({ text, options }) => model().tokenize(text, options),
  detokenize: ({ ids, showSpecial }) => model().detokenize(ids, showSpecial),
};

process.on('message', (message) => {
  const { id, name, args } = message as LlamaRequest;
  let reply: LlamaReply;
  try {
    reply = { id, result: answers[name](args as never) };
  } catch (error) {
    reply = { id, error: error instanceof Error ? error.message : String(error) };
  }
  process.send?.(reply);
});
process.on('disconnect', () => process.exit());
