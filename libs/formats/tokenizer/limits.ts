/** What a model's tokenizer and chat template may cost. */
export interface Limits {
  /** Longest time for a chat template to render what one request asks for, in milliseconds. */
  renderMs: number;
  /** Longest time without a request or an answer while requests wait for one, in milliseconds. */
  answerMs: number;
  /** Memory of the process, in bytes. */
  memoryBytes: number;
}

/**
 * A template renders a conversation in less than a millisecond. A pair of the largest row (4 MB) is tokenised in 8 to 18
 * seconds. Of the memory, Node itself reserves 0.6 GiB, the largest vocabularies take 0.4, and such a pair takes 1.6.
 */
export const limits: Limits = { renderMs: 10_000, answerMs: 60_000, memoryBytes: 3 * 2 ** 30 };
