// A process for telemetry.spec.ts that writes some lines and spans.
import { context, propagation } from '@opentelemetry/api';
import { PairwiseError } from '@pairwise/errors';
import { startTelemetry, withRun, withSpan } from './index.ts';

const telemetry = startTelemetry('test');
const { log } = telemetry;
log.info({ size: 3 }, 'outside');
await withSpan('outer', {}, () =>
  withRun('projects/default/runs/a', async () => {
    log.info('inside');
    const carrier = {};
    propagation.inject(context.active(), carrier);
    log.info(carrier, 'carrier');
    await withSpan('inner', { step: 7 }, () => Promise.reject(new PairwiseError('NOT_FOUND', 'no'))).catch(
      () => undefined,
    );
  }),
);
await telemetry.stop();
