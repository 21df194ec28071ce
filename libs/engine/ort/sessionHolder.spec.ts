import { expect, test } from 'vitest';
import { graphBuilder, ops } from '@pairwise/onnx';
import { sessionHolder, type Opening, type Session } from './index.ts';

function adding(amount: number) {
  const g = graphBuilder(`adding ${amount}`);
  g.output('sum', ops(g).add(g.input('x', 'float32', ['N']), amount));
  return g.finish();
}

/** A holder that logs what it opens and closes. */
function loggedHolder() {
  const log: string[] = [];
  const holder = sessionHolder<Session>({ threads: 1 });
  const open = (amount: number, fails = false) =>
    holder.open(String(amount), async ({ use, session }: Opening) => {
      log.push(`open ${amount}`);
      use({
        [Symbol.asyncDispose]: async () => {
          log.push(`close ${amount}`);
          await Promise.resolve();
        },
      });
      if (fails) throw new Error('it cannot be opened');
      return session(adding(amount));
    });
  return { log, holder, open };
}

const feeds = { x: { dtype: 'float32' as const, dims: [1], data: Float32Array.of(1) } };

test('a model stays open until another one is needed, and is closed before the other one is opened', async () => {
  const { log, holder, open } = loggedHolder();
  const first = await open(1);
  expect(await open(1)).toBe(first);
  expect((await first.run(feeds))['sum']!.data).toEqual(Float32Array.of(2));
  const second = await open(2);
  await expect(first.run(feeds)).rejects.toMatchObject({ reason: 'WRONG_STATE' });
  expect((await second.run(feeds))['sum']!.data).toEqual(Float32Array.of(3));
  await holder.close();
  await holder.close();
  await expect(second.run(feeds)).rejects.toMatchObject({ reason: 'WRONG_STATE' });
  expect(log).toEqual(['open 1', 'close 1', 'open 2', 'close 2']);
});

test('if opening fails, everything opened so far is closed, and the model can be opened again', async () => {
  const { log, holder, open } = loggedHolder();
  await expect(open(1, true)).rejects.toThrow('it cannot be opened');
  await open(1);
  await holder.close();
  expect(log).toEqual(['open 1', 'close 1', 'open 1', 'close 1']);
});

test('a session on demand is compiled when it is first used, again if that failed, and closed with the model', async () => {
  const holder = sessionHolder<() => Promise<Session>>({ threads: 1 });
  const opened: string[] = [];
  const onDemand = await holder.open('model', ({ sessionOnDemand }) =>
    Promise.resolve(
      sessionOnDemand(() => {
        const graph = adding(1);
        opened.push(graph.name);
        if (opened.length > 1) return graph;
        const location = 'none.safetensors';
        const value = { name: 'w', dtype: 'float32', shape: [1] } as const;
        return { ...graph, externals: [{ value, data: { location, offset: 0, length: 4 } }] };
      }),
    ),
  );
  expect(opened).toEqual([]);
  await expect(onDemand()).rejects.toMatchObject({ reason: 'INVALID_FILE' });
  const session = await onDemand();
  expect(await onDemand()).toBe(session);
  expect(opened).toHaveLength(2);
  expect((await session.run(feeds))['sum']!.data).toEqual(Float32Array.of(2));
  await holder.close();
  await expect(session.run(feeds)).rejects.toMatchObject({ reason: 'WRONG_STATE' });
});
