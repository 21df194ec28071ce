import { readFileSync } from 'node:fs';
import type { GetServerInfoResponse } from '@pairwise/api';
import { architectures } from '@pairwise/model';
import { maxMessageBytes } from '@pairwise/rpc';
import { engineVersion, lossTypes, schedulerTypes, targetModules } from '@pairwise/training';
import { ggufTypes } from './spec.ts';

const { version } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')) as { version: string };

/** What this server is and can do. */
export function serverInfo(): GetServerInfoResponse {
  return {
    version,
    engineVersion,
    architectures: [...architectures],
    lossTypes: [...lossTypes],
    targetModules: [...targetModules],
    ggufTypes: [...ggufTypes],
    lrSchedulerTypes: [...schedulerTypes],
    maxMessageSizeBytes: maxMessageBytes,
  };
}
