import type { InferenceSession } from 'onnxruntime-node';
import type { Tensor } from './tensors.ts';

/** What a session's thread receives when it starts. */
export interface ThreadData {
  readonly model: Uint8Array;
  readonly options: InferenceSession.SessionOptions;
}

export type Request =
  | {
      readonly kind: 'run';
      readonly id: number;
      readonly feeds: Readonly<Record<string, Tensor>>;
      readonly fetch: readonly string[];
      readonly into: Readonly<Record<string, Tensor>>;
    }
  | { readonly kind: 'close' };

export type Reply =
  | { readonly kind: 'open' }
  | { readonly kind: 'refused'; readonly problem: string }
  | { readonly kind: 'result'; readonly id: number; readonly results: Readonly<Record<string, Tensor>> }
  | { readonly kind: 'failed'; readonly id: number; readonly problem: string };
