/** Measures an idle platform: `npm run bench -- idle [--seconds 30] [--json]`. Reads /proc, so it needs Linux. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OrchestratorServiceService } from '@pairwise/api';
import { PairwiseError } from '@pairwise/errors';
import { openClient } from '@pairwise/rpc';
import { type Family, connections, cpuSeconds, familyOf, pssMb } from './family.ts';

interface Start {
  secondsToFirstAnswer: number;
  /** CPU time of all processes until the first answer. */
  cpuSeconds: number;
}

export interface IdleFigures {
  firstStart: Start;
  secondStart: Start;
  /** CPU time in percent of one core. */
  cpuPercent: Record<keyof Family | 'all', number>;
  processes: Record<keyof Family | 'all', number>;
  /** Connections to Postgres. */
  connections: number;
  /** Proportional set size: memory that several processes share counts once. */
  pssMb: Record<keyof Family | 'all', number>;
}

/**
 * Wait after the first answer. By then, everything that only starting needs is closed, and DBOS has stopped looking for new
 * schedules every second, which it does for a minute.
 */
const settleMs = 70_000;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs `pairwise up` as a user would, and waits for its first answer. */
async function start(data: string): Promise<{ up: ChildProcess; figures: Start }> {
  const address = `127.0.0.1:${await freePort()}`;
  const program = join(import.meta.dirname, '../cli/main.ts');
  const began = performance.now();
  const up = spawn(process.execPath, [program, 'up', '--data', data, '--listen', address], { stdio: 'ignore' });
  const client = openClient(OrchestratorServiceService, { address });
  try {
    for (;;) {
      if (up.exitCode !== null) throw new Error(`pairwise up ended with code ${up.exitCode}`);
      try {
        await client.getServerInfo({});
        const secondsToFirstAnswer = rounded((performance.now() - began) / 1000);
        const { all } = withSum(byGroup(familyOf(up.pid!), cpuSeconds));
        return { up, figures: { secondsToFirstAnswer, cpuSeconds: all } };
      } catch (error) {
        if (!(error instanceof PairwiseError) || error.reason !== 'UNAVAILABLE') throw error;
        await sleep(20);
      }
    }
  } finally {
    client.close();
  }
}

const byGroup = (family: Family, of: (pids: number[]) => number) => ({
  node: of(family.node),
  postgres: of(family.postgres),
});
const sum = ({ node, postgres }: Record<keyof Family, number>) => node + postgres;
const rounded = (figure: number) => Number(figure.toPrecision(3));
const withSum = (groups: Record<keyof Family, number>) => ({
  node: rounded(groups.node),
  postgres: rounded(groups.postgres),
  all: rounded(sum(groups)),
});

/** Starts a platform twice on a new temporary folder, and then measures it for `seconds` without any calls. */
export async function measureIdle(seconds: number): Promise<IdleFigures> {
  const data = mkdtempSync(join(tmpdir(), 'pairwise-idle-'));
  let up: ChildProcess | undefined;
  const stop = async () => {
    if (up === undefined || up.exitCode !== null) return;
    up.kill('SIGTERM');
    await once(up, 'exit');
  };
  try {
    const first = await start(data);
    up = first.up;
    await stop();
    const second = await start(data);
    up = second.up;
    await sleep(settleMs);
    const [before, began] = [byGroup(familyOf(up.pid!), cpuSeconds), performance.now()];
    await sleep(seconds * 1000);
    const family = familyOf(up.pid!);
    const [after, passed] = [byGroup(family, cpuSeconds), (performance.now() - began) / 1000];
    const percent = (group: keyof Family) => (100 * (after[group] - before[group])) / passed;
    return {
      firstStart: first.figures,
      secondStart: second.figures,
      cpuPercent: withSum({ node: percent('node'), postgres: percent('postgres') }),
      processes: withSum(byGroup(family, (pids) => pids.length)),
      connections: connections(family.postgres),
      pssMb: withSum(byGroup(family, pssMb)),
    };
  } finally {
    await stop();
    rmSync(data, { recursive: true });
  }
}
