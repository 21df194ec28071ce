// A process for telemetry.spec.ts that writes some lines, spans and metrics.
import { setTimeout as sleep } from 'node:timers/promises';
import { context, propagation } from '@opentelemetry/api';
import { PairwiseError } from '@pairwise/errors';
import { activeRun, count, observe, record, startTelemetry, withRun, withSpan } from './index.ts';

const telemetry = await startTelemetry('test');
const { log } = telemetry;
log.info({ size: 3 }, 'outside');
await withSpan('outer', {}, () =>
  withRun('projects/default/runs/a', async () => {
    log.info('inside');
    record('pairwise.training.loss', 0.5, { 'pairwise.run.id': activeRun()!, 'pairwise.split': 'train' });
    const carrier = {};
    propagation.inject(context.active(), carrier);
    log.info(carrier, 'carrier');
    await withSpan('inner', { step: 7 }, () => Promise.reject(new PairwiseError('NOT_FOUND', 'no'))).catch(
      () => undefined,
    );
  }),
);
count('pairwise.tokens', 40, { 'pairwise.activity': 'train' });
count('pairwise.tokens', 2, { 'pairwise.activity': 'train' });
const text = { 'pairwise.split': 'text of a pair' };
record('pairwise.reference.shard.duration', 7, text);
let state = 'RUNNING';
observe(['pairwise.runs'], () => [{ name: 'pairwise.runs', value: 1, attributes: { 'pairwise.run.state': state } }]);
if (process.argv[2] === 'metrics') {
  await sleep(1500);
  state = 'SUCCEEDED';
  await sleep(1500);
}
await telemetry.stop();
