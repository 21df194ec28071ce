import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

import {
  type CollectedLine,
  type CollectedPoint,
  type CollectedSpan,
  type ExportedLines,
  type ExportedMetrics,
  type ExportedSpans,
  linesOf,
  pointsOf,
  spansOf,
} from './testing.otlp.ts';

export type { CollectedLine, CollectedPoint, CollectedSpan };

export interface Collector {
  /** Environment variables for processes that should send their telemetry here without delay. */
  environment: Record<string, string>;
  /** All spans so far. */
  spans: CollectedSpan[];
  /** All metric points so far: one per second, process and series. */
  points: CollectedPoint[];
  /** All log lines so far. */
  lines: CollectedLine[];
  stop(): Promise<void>;
}

/**
 * For specs: starts a collector that keeps what any number of processes send (OTLP over HTTP, as JSON). It listens on
 * `address`, default 127.0.0.1. Processes reach it by the host name `name`, by default the same as the address.
 */
export async function startCollector(address = '127.0.0.1', name = address): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const points: CollectedPoint[] = [];
  const lines: CollectedLine[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      if (request.url === '/v1/traces') spans.push(...spansOf(JSON.parse(text) as ExportedSpans));
      if (request.url === '/v1/metrics') points.push(...pointsOf(JSON.parse(text) as ExportedMetrics));
      if (request.url === '/v1/logs') lines.push(...linesOf(JSON.parse(text) as ExportedLines));
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  server.listen(0, address);
  await once(server, 'listening');
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://${name}:${(server.address() as AddressInfo).port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_BSP_SCHEDULE_DELAY: '100',
    OTEL_BLRP_SCHEDULE_DELAY: '100',
    OTEL_METRIC_EXPORT_INTERVAL: '1000',
    OTEL_METRIC_EXPORT_TIMEOUT: '1000',
  };
  return {
    environment,
    spans,
    points,
    lines,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
