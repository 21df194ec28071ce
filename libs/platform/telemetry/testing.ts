import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A span as a collector gets it. Ids are hex; `parentSpanId` is empty for a root; kinds are OTLP's (2 server, 3 client, 4 producer, 5 consumer). */
export interface CollectedSpan {
  service: string;
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId: string;
  links: { traceId: string; spanId: string }[];
  attributes: Record<string, string>;
}

/** One value of a metric as a collector gets it; a histogram's is its count. `kind` is the registry's. */
export interface CollectedPoint {
  service: string;
  name: string;
  kind: 'counter' | 'gauge' | 'histogram' | 'level';
  unit: string;
  description: string;
  attributes: Record<string, string>;
  value: number;
}

/** A log line as a collector gets it. */
export interface CollectedLine {
  service: string;
  severity: string;
  body: string;
  traceId: string;
  spanId: string;
  attributes: Record<string, string>;
}

export interface Collector {
  /** Environment for processes whose telemetry is to arrive here soon. */
  environment: Record<string, string>;
  /** All spans so far. */
  spans: CollectedSpan[];
  /** All metric points so far: one of each series per second and process. */
  points: CollectedPoint[];
  /** All log lines so far. */
  lines: CollectedLine[];
  stop(): Promise<void>;
}

interface KeyValue {
  key: string;
  value: Record<string, unknown>;
}

interface Resource {
  resource: { attributes: KeyValue[] };
}

interface ExportedSpans {
  resourceSpans: (Resource & {
    scopeSpans: {
      spans: (Pick<CollectedSpan, 'name' | 'kind' | 'traceId' | 'spanId'> &
        Partial<Pick<CollectedSpan, 'parentSpanId' | 'links'>> & { attributes: KeyValue[] })[];
    }[];
  })[];
}

interface DataPoints {
  dataPoints: { attributes: KeyValue[]; asDouble?: number; asInt?: number | string; count?: number | string }[];
}

interface ExportedMetrics {
  resourceMetrics: (Resource & {
    scopeMetrics: {
      metrics: (Pick<CollectedPoint, 'name' | 'unit' | 'description'> & {
        sum?: DataPoints & { isMonotonic: boolean };
        gauge?: DataPoints;
        histogram?: DataPoints;
      })[];
    }[];
  })[];
}

interface ExportedLines {
  resourceLogs: (Resource & {
    scopeLogs: {
      logRecords: {
        severityText: string;
        body: { stringValue: string };
        traceId?: string;
        spanId?: string;
        attributes: KeyValue[];
      }[];
    }[];
  })[];
}

const plain = (attributes: KeyValue[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, String(Object.values(value)[0])]));

const serviceOf = ({ resource }: Resource) => plain(resource.attributes)['service.name'] ?? '';

function spansOf({ resourceSpans }: ExportedSpans): CollectedSpan[] {
  return resourceSpans.flatMap((of) =>
    of.scopeSpans.flatMap(({ spans }) =>
      spans.map(({ name, kind, traceId, spanId, parentSpanId = '', links = [], attributes }) => ({
        service: serviceOf(of),
        name,
        kind,
        traceId,
        spanId,
        parentSpanId,
        links: links.map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
        attributes: plain(attributes),
      })),
    ),
  );
}

function pointsOf({ resourceMetrics }: ExportedMetrics): CollectedPoint[] {
  return resourceMetrics.flatMap((of) =>
    of.scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ name, unit, description, sum, gauge, histogram }) => {
        const kind =
          gauge !== undefined
            ? 'gauge'
            : histogram !== undefined
              ? 'histogram'
              : sum?.isMonotonic
                ? 'counter'
                : 'level';
        const { dataPoints } = (gauge ?? histogram ?? sum)!;
        return dataPoints.map(({ attributes, asDouble, asInt, count }) => ({
          service: serviceOf(of),
          name,
          kind,
          unit,
          description,
          attributes: plain(attributes),
          value: Number(asDouble ?? asInt ?? count),
        }));
      }),
    ),
  );
}

function linesOf({ resourceLogs }: ExportedLines): CollectedLine[] {
  return resourceLogs.flatMap((of) =>
    of.scopeLogs.flatMap(({ logRecords }) =>
      logRecords.map(({ severityText, body, traceId = '', spanId = '', attributes }) => ({
        service: serviceOf(of),
        severity: severityText,
        body: body.stringValue,
        traceId,
        spanId,
        attributes: plain(attributes),
      })),
    ),
  );
}

/**
 * For specs: a collector that keeps what any number of processes send (OTLP over HTTP, JSON). It listens on `address`;
 * `name` is what they call this machine.
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
