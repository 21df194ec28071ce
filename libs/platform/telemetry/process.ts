import { totalmem } from 'node:os';
import { type Observation, observe } from './instruments.ts';

const names = ['process.cpu.time', 'process.memory.usage', 'pairwise.process.memory.limit'] as const;

/** Reports the processor time and memory of this process. */
export function observeProcess(): void {
  observe(names, () => {
    const { user, system } = process.cpuUsage();
    const limit = process.constrainedMemory();
    const read: Observation<(typeof names)[number]>[] = [
      { name: 'process.cpu.time', value: user / 1e6, attributes: { 'cpu.mode': 'user' } },
      { name: 'process.cpu.time', value: system / 1e6, attributes: { 'cpu.mode': 'system' } },
      { name: 'process.memory.usage', value: process.memoryUsage.rss(), attributes: {} },
    ];
    // Without a limit this is 0, or more than the machine has.
    if (limit > 0 && limit < totalmem())
      read.push({ name: 'pairwise.process.memory.limit', value: limit, attributes: {} });
    return read;
  });
}
