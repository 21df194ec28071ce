import { statfs } from 'node:fs/promises';
import { metrics } from '@opentelemetry/api';

/** Reports the size and free space of a folder's file system, in bytes, with every export of metrics. */
export function observeFileSystem(folder: string): void {
  // The registry of libs/platform/telemetry describes these metrics.
  const meter = metrics.getMeter('pairwise.store');
  const size = meter.createObservableGauge('pairwise.store.size', { unit: 'By' });
  const free = meter.createObservableGauge('pairwise.store.free', { unit: 'By' });
  meter.addBatchObservableCallback(
    async (result) => {
      const { bsize, blocks, bavail } = await statfs(folder);
      result.observe(size, blocks * bsize);
      result.observe(free, bavail * bsize);
    },
    [size, free],
  );
}
