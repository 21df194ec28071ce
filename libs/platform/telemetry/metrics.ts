/** A metric: its kind, its unit, and the attributes that distinguish its series. */
interface Metric {
  /** A `level` is a sum that goes up and down. Unlike gauges, the levels of several processes can be added. */
  kind: 'counter' | 'gauge' | 'histogram' | 'level';
  /** In UCUM; a word in braces says what is counted. */
  unit: string;
  /**
   * No other attributes are exported. Each must have few values; for attributes that are runs, the description says
   * what bounds their number.
   */
  attributes: readonly string[];
  description: string;
  /** Upper bounds of a histogram's buckets, in its unit. Default: the bounds that the instrument suggests. */
  buckets?: readonly number[];
}

const call = ['rpc.system.name', 'rpc.method', 'rpc.response.status_code', 'error.type'] as const;
const queue = ['pairwise.service', 'messaging.destination.name'] as const;
const curve = ['pairwise.run.id', 'pairwise.split'] as const;
/**
 * What bounds the series of a metric by run: a worker trains one run at a time, and a gauge ends when it is no longer
 * recorded.
 */
const bounded = 'One series per split and run in training; ends with it.';
/** In seconds; a unit of work is planned to take 5 to 60. */
const workSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

/**
 * All our metrics, by name. Those without `pairwise.` are OpenTelemetry's semantic conventions. libs/platform/durable,
 * rpc and store create their own instruments; tests check their names and units against this registry, which supplies
 * the descriptions.
 */
export const metrics = {
  'pairwise.runs': {
    kind: 'gauge',
    unit: '{run}',
    attributes: ['pairwise.run.state'],
    description: 'Runs by state, ended ones included until they are deleted. Every orchestrator reports the same.',
  },
  'pairwise.run.progress': {
    kind: 'gauge',
    unit: '1',
    attributes: ['pairwise.run.id', 'pairwise.stage'],
    description: 'How much of a stage is done, 0 to 1. Five series per running run; they end with it.',
  },
  'pairwise.queue.depth': {
    kind: 'gauge',
    unit: '{item}',
    attributes: [...queue, 'pairwise.work.state'],
    description:
      'Pieces of work that are waiting in a queue or being executed. Every process of the service reports the same.',
  },
  'pairwise.queue.oldest.age': {
    kind: 'gauge',
    unit: 's',
    attributes: queue,
    description: 'How long the oldest waiting piece of work has waited; 0 if none is waiting.',
  },
  'pairwise.lease.expiries': {
    kind: 'counter',
    unit: '{lease}',
    attributes: ['pairwise.service'],
    description: 'Processes that turned out to be dead, whose work was put back into its queue.',
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
    description: 'Responses whose reference logps were already stored when requested.',
  },
  'pairwise.reference.misses': {
    kind: 'counter',
    unit: '{response}',
    attributes: [],
    description: 'Responses whose reference logps had to be computed when requested.',
  },
  'pairwise.tokens': {
    kind: 'counter',
    unit: '{token}',
    attributes: ['pairwise.activity'],
    description: 'Tokens that went through the model; a prompt shared by two responses counts once.',
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
    description: `Mean reward of chosen responses minus that of rejected ones. ${bounded}`,
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
    description: 'Size of the file system of a blob store in a folder. Not reported for S3.',
  },
  'pairwise.store.free': {
    kind: 'gauge',
    unit: 'By',
    attributes: [],
    description: 'Space available to us on the file system of a blob store in a folder. Not reported for S3.',
  },
  'rpc.server.call.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: call,
    description: 'Duration of an incoming call; for streams, until they end.',
  },
  'rpc.client.call.duration': {
    kind: 'histogram',
    unit: 's',
    attributes: [...call, 'server.address', 'server.port'],
    description: 'Duration of an outgoing call; for streams, until they end.',
  },
  'process.cpu.time': {
    kind: 'counter',
    unit: 's',
    attributes: ['cpu.mode'],
    description: 'Processor time used by the process.',
  },
  'process.memory.usage': {
    kind: 'level',
    unit: 'By',
    attributes: [],
    description: 'Resident memory of the process, including mapped weights.',
  },
  'pairwise.process.memory.limit': {
    kind: 'gauge',
    unit: 'By',
    attributes: [],
    description: "The container's memory limit; missing if there is none.",
  },
} as const satisfies Record<string, Metric>;

export type MetricName<Kind extends Metric['kind'] = Metric['kind']> = {
  [Name in keyof typeof metrics]: (typeof metrics)[Name]['kind'] extends Kind ? Name : never;
}[keyof typeof metrics];

/** The attributes that a metric must be recorded with: all that the registry lists. */
export type MetricAttributes<Name extends MetricName> = Record<(typeof metrics)[Name]['attributes'][number], string>;

/** The registry, with all entries as the same type. */
export const registry: Readonly<Record<MetricName, Metric>> = metrics;
