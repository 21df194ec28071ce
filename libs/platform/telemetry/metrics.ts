/** A metric: what it is called, what it counts in, and what tells its series apart. */
interface Metric {
  /** A `level` is a sum that goes up and down: unlike gauges, levels of several processes may be added. */
  kind: 'counter' | 'gauge' | 'histogram' | 'level';
  /** UCUM; what stands in braces is counted. */
  unit: string;
  /** No others are exported, so each must have few values; where it is a run, the description says what bounds it. */
  attributes: readonly string[];
  description: string;
  /** Upper bounds of a histogram's buckets, in its unit. Default: those that the instrument advises. */
  buckets?: readonly number[];
}

const call = ['rpc.system.name', 'rpc.method', 'rpc.response.status_code', 'error.type'] as const;
const queue = ['pairwise.service', 'messaging.destination.name'] as const;
const curve = ['pairwise.run.id', 'pairwise.split'] as const;
/** How a curve by run stays small: a worker trains one run at a time, and a gauge ends when it is not recorded any more. */
const bounded = 'One series per split and run in training; ends with it.';
/** Seconds; a unit of work is planned for 5 to 60. */
const workSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

/**
 * Every metric of ours, by name; those without `pairwise.` are OpenTelemetry's semantic conventions. libs/platform/durable, rpc and
 * store have instruments of their own, whose name and unit are proven to stand here; descriptions are taken from here.
 */
export const metrics = {
  'pairwise.runs': {
    kind: 'gauge',
    unit: '{run}',
    attributes: ['pairwise.run.state'],
    description: 'Runs by state, ended ones included until they are deleted. Every orchestrator tells the same.',
  },
  'pairwise.run.progress': {
    kind: 'gauge',
    unit: '1',
    attributes: ['pairwise.run.id', 'pairwise.stage'],
    description: 'How much of a stage is done, 0 to 1. Five series per run that has begun and not ended; ends with it.',
  },
  'pairwise.queue.depth': {
    kind: 'gauge',
    unit: '{item}',
    attributes: [...queue, 'pairwise.work.state'],
    description: 'Pieces of work that wait in a queue or are executed. Every process of the service tells the same.',
  },
  'pairwise.queue.oldest.age': {
    kind: 'gauge',
    unit: 's',
    attributes: queue,
    description: 'How long the piece has waited that has waited longest; 0 where none waits.',
  },
  'pairwise.lease.expiries': {
    kind: 'counter',
    unit: '{lease}',
    attributes: ['pairwise.service'],
    description: 'Processes that were found dead and whose work went back to its queue.',
  },
  'pairwise.reference.shard.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: [],
    description: 'Time to compute and store the reference logps of one unit of work.',
    buckets: workSeconds,
  },
  'pairwise.reference.hits': {
    kind: 'counter',
    unit: '{response}',
    attributes: [],
    description: 'Responses whose reference logps were in the store when they were asked for.',
  },
  'pairwise.reference.misses': {
    kind: 'counter',
    unit: '{response}',
    attributes: [],
    description: 'Responses whose reference logps had to be computed when they were asked for.',
  },
  'pairwise.tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: ['pairwise.activity'],
    description: 'Tokens that went through the model; a prompt that two responses share counts once.',
  },
  'pairwise.training.step.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: [],
    description: 'Time of one optimizer step.',
    buckets: workSeconds,
  },
  'pairwise.training.loss': {
    kind: 'gauge',
    unit: '{nat}',
    attributes: curve,
    description: `Loss of the last step or evaluation. ${bounded}`,
  },
  'pairwise.training.reward.margin': {
    kind: 'gauge',
    unit: '{nat}',
    attributes: curve,
    description: `Mean reward of chosen less that of rejected responses. ${bounded}`,
  },
  'pairwise.training.reward.accuracy': {
    kind: 'gauge',
    unit: '1',
    attributes: curve,
    description: `Share of pairs with a positive margin. ${bounded}`,
  },
  'pairwise.export.size': {
    kind: 'counter',
    unit: 'By',
    attributes: ['pairwise.artifact.format', 'pairwise.artifact.type'],
    description: 'Bytes of finished artifacts.',
  },
  'pairwise.store.size': {
    kind: 'gauge',
    unit: 'By',
    attributes: [],
    description: 'Size of the file system of a blob store in a folder. A store on S3 has none.',
  },
  'pairwise.store.free': {
    kind: 'gauge',
    unit: 'By',
    attributes: [],
    description: 'What is free for us on the file system of a blob store in a folder. A store on S3 has none.',
  },
  'rpc.server.call.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: call,
    description: 'Duration of an incoming call, streams to their end.',
  },
  'rpc.client.call.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: [...call, 'server.address', 'server.port'],
    description: 'Duration of an outgoing call, streams to their end.',
  },
  'process.cpu.time': {
    kind: 'counter',
    unit: 's',
    attributes: ['cpu.mode'],
    description: 'Processor time that the process has used.',
  },
  'process.memory.usage': {
    kind: 'level',
    unit: 'By',
    attributes: [],
    description: 'Resident memory of the process, mapped weights included.',
  },
  'pairwise.process.memory.limit': {
    kind: 'gauge',
    unit: 'By',
    attributes: [],
    description: "The container's memory limit; missing where there is none.",
  },
} as const satisfies Record<string, Metric>;

export type MetricName<Kind extends Metric['kind'] = Metric['kind']> = {
  [Name in keyof typeof metrics]: (typeof metrics)[Name]['kind'] extends Kind ? Name : never;
}[keyof typeof metrics];

/** The attributes that a metric is recorded with: all that the registry has for it. */
export type MetricAttributes<Name extends MetricName> = Record<(typeof metrics)[Name]['attributes'][number], string>;

/** The registry with its entries in one form. */
export const registry: Readonly<Record<MetricName, Metric>> = metrics;
