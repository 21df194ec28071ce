import type { Feed } from '@pairwise/model';

/** The results of a graph by name. */
export type GraphResults = Readonly<Record<string, { data: unknown }>>;

/** Runs a compiled graph, as the `run` of a session of libs/engine/ort does. */
export type RunGraph = (feeds: Record<string, Feed>) => Promise<GraphResults>;

/** Is called before every micro-batch; throws to stop. */
export type StopCheck = () => void | Promise<void>;

/**
 * Runs micro-batches one after the other. While one runs, the next is packed and the caller works on the results of the last,
 * so the accelerator does not wait for either. `constants`, such as an adapter, are fed with every micro-batch.
 */
export async function* microBatchResults<Part, Packed extends { feeds: Record<string, Feed> }>(
  run: RunGraph,
  parts: readonly Part[],
  pack: (part: Part) => Packed,
  constants: Record<string, Feed>,
  stopCheck: StopCheck = () => undefined,
): AsyncGenerator<{ part: Part; packed: Packed; results: GraphResults }> {
  const start = async (packed: Packed) => {
    await stopCheck();
    const results = run({ ...packed.feeds, ...constants });
    // It is awaited later; until then a failure must not count as unhandled.
    results.catch(() => undefined);
    return { packed, results };
  };
  let running = parts[0] === undefined ? undefined : await start(pack(parts[0]));
  try {
    for (const [index, part] of parts.entries()) {
      const { packed, results } = running!;
      const next = index + 1 < parts.length ? pack(parts[index + 1]!) : undefined;
      const found = await results;
      running = next && (await start(next));
      yield { part, packed, results: found };
    }
  } finally {
    // If the caller stops early, the last run ends unseen.
    await running?.results.catch(() => undefined);
  }
}
