// OTLP's JSON form, as far as the collector in testing.ts needs it.

/**
 * A span as a collector receives it. Ids are hexadecimal; `parentSpanId` is empty for a root span; kinds are OTLP's (2 server,
 * 3 client, 4 producer, 5 consumer).
 */
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

/** One value of a metric as a collector receives it; for a histogram, its count. `kind` is the registry's. */
export interface CollectedPoint {
  service: string;
  name: string;
  kind: 'counter' | 'gauge' | 'histogram' | 'level';
  unit: string;
  description: string;
  attributes: Record<string, string>;
  value: number;
}

/** A log line as a collector receives it. */
export interface CollectedLine {
  service: string;
  severity: string;
  body: string;
  traceId: string;
  spanId: string;
  attributes: Record<string, string>;
}

interface KeyValue {
  key: string;
  value: Record<string, unknown>;
}

interface Resource {
  resource: { attributes: KeyValue[] };
}

export interface ExportedSpans {
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

export interface ExportedMetrics {
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

export interface ExportedLines {
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

export function spansOf({ resourceSpans }: ExportedSpans): CollectedSpan[] {
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

export function pointsOf({ resourceMetrics }: ExportedMetrics): CollectedPoint[] {
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

export function linesOf({ resourceLogs }: ExportedLines): CollectedLine[] {
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
