/** A method of a service definition as ts-proto generates it (`outputServices=grpc-js`). */
export interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  // Parameters are contravariant: `never` accepts every generated definition.
  readonly requestSerialize: (message: never) => Buffer;
  readonly requestDeserialize: (bytes: Buffer) => unknown;
  readonly responseSerialize: (message: never) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => unknown;
}

/** A generated service definition, e.g. `TrainingServiceService`. */
export type Definition = Readonly<Record<string, Method>>;

export type RequestOf<M extends Method> = ReturnType<M['requestDeserialize']>;
export type ResponseOf<M extends Method> = ReturnType<M['responseDeserialize']>;

/** The full service name of a definition, e.g. `pairwise.v1.TrainingService`. */
export function serviceNameOf(definition: Definition): string {
  const path = Object.values(definition)[0]?.path ?? '';
  return path.split('/')[1] ?? '';
}
