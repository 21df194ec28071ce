import { floatsAt } from './native.ts';
import type { Llama, Pointer } from './native.ts';
import { divergenceOf, logSoftmaxAt } from './sampling.ts';
import type { Batch } from './structures.ts';
import type { Divergence, JudgedSequence, JudgeInfo } from './requests.ts';

/** The tokens per call of llama_decode, which limits the memory for logits. */
export const batchTokens = 256;

/** One batch of a sequence: the tokens from `start` to before `end`. */
export interface Forward {
  start: number;
  end: number;
  /** The logits after a token, by its position in the sequence. Valid until the next batch. */
  logitsAfter(position: number): Float32Array;
}

/** Runs one sequence at a time through the model. Throws for an empty or too long sequence and for unknown tokens. */
export interface Decoder {
  contextTokens: number;
  /** Runs a new sequence, a batch at a time. */
  forward(ids: Int32Array): Generator<Forward>;
  /** Starts a new sequence with a prompt. Returns the logits after its last token. */
  begin(ids: Int32Array): Float32Array;
  /** Appends a token to the sequence. Returns the logits after it. */
  next(id: number): Float32Array;
}

/** Decodes with a context of a model. */
export function decoderOf(llama: Llama, context: Pointer, { vocabSize, contextTokens }: JudgeInfo): Decoder {
  const memory = llama.llama_get_memory(context);
  const check = (ids: Int32Array) => {
    if (ids.length === 0 || ids.length > contextTokens) {
      throw new Error(`a sequence has ${ids.length} tokens; it must have 1 to ${contextTokens}`);
    }
    const stray = ids.find((id) => id < 0 || id >= vocabSize);
    if (stray !== undefined) throw new Error(`token ${stray} is not in the vocabulary of ${vocabSize}`);
  };
  /** Appends tokens to the sequence. */
  const decode = (batch: Batch) => {
    const code = llama.llama_decode(context, batch);
    if (code !== 0) throw new Error(`llama_decode returned ${code}`);
  };
  const logitsAt = (index: number) => {
    const address = llama.llama_get_logits_ith(context, index);
    if (address === null) throw new Error('llama.cpp has no logits for the token');
    return floatsAt(address, vocabSize);
  };
  return {
    contextTokens,
    *forward(ids) {
      check(ids);
      llama.llama_memory_clear(memory, true);
      for (let start = 0; start < ids.length; start += batchTokens) {
        const token = ids.slice(start, start + batchTokens);
        decode({ n_tokens: token.length, token, logits: new Int8Array(token.length).fill(1) });
        yield { start, end: start + token.length, logitsAfter: (position) => logitsAt(position - start) };
      }
    },
    begin(ids) {
      check(ids);
      llama.llama_memory_clear(memory, true);
      let last = 0;
      for (let start = 0; start < ids.length; start += batchTokens) {
        const token = ids.slice(start, start + batchTokens);
        last = token.length - 1;
        decode({ n_tokens: token.length, token, logits: new Int8Array(token.length).fill(1, last) });
      }
      return logitsAt(last);
    },
    next(id) {
      decode({ n_tokens: 1, token: Int32Array.of(id), logits: Int8Array.of(1) });
      return logitsAt(0);
    },
  };
}

/** Log p(ids[i] | ids[..i]) for i from 1, in nats: one number fewer than tokens. */
export function decodedLogps(decoder: Decoder, ids: Int32Array): Float64Array {
  const logps = new Float64Array(ids.length - 1);
  for (const { start, end, logitsAfter } of decoder.forward(ids)) {
    for (let position = start; position < Math.min(end, logps.length); position++) {
      logps[position] = logSoftmaxAt(logitsAfter(position), ids[position + 1]!);
    }
  }
  return logps;
}

/** Compares the distributions of two models that have the same vocabulary, after the same tokens. */
export function divergence(decoder: Decoder, reference: Decoder, sequences: readonly JudgedSequence[]): Divergence {
  let [divergenceSum, sameCount, count] = [0, 0, 0];
  const [logps, otherLogps]: [Float64Array[], Float64Array[]] = [[], []];
  for (const { ids, from } of sequences) {
    const [own, others] = [new Float64Array(ids.length - from), new Float64Array(ids.length - from)];
    logps.push(own);
    otherLogps.push(others);
    const expected = reference.forward(ids)[Symbol.iterator]();
    for (const { start, end, logitsAfter } of decoder.forward(ids)) {
      const other = expected.next().value as Forward;
      for (let position = Math.max(start, from - 1); position < Math.min(end, ids.length - 1); position++) {
        const [expectedLogits, logits] = [other.logitsAfter(position), logitsAfter(position)];
        const { klDivergence, sameTop } = divergenceOf(expectedLogits, logits);
        own[position + 1 - from] = logSoftmaxAt(logits, ids[position + 1]!);
        others[position + 1 - from] = logSoftmaxAt(expectedLogits, ids[position + 1]!);
        divergenceSum += klDivergence;
        sameCount += sameTop ? 1 : 0;
        count += 1;
      }
    }
  }
  return { klDivergence: divergenceSum / count, topAgreement: sameCount / count, logps, otherLogps };
}
