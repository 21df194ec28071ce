import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Server } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import protobuf from 'protobufjs';

/**
 * `google.protobuf.FileDescriptorSet`, but with its files left encoded: decoding them here would cost each process
 * megabytes.
 */
const encodedFiles = new protobuf.Type('FileDescriptorSet').add(new protobuf.Field('file', 1, 'bytes', 'repeated'));

/** Lets callers query the server's services and their types. They come from the descriptors of `@pairwise/api`. */
export function addReflection(server: Server, services: readonly string[]): void {
  const path = fileURLToPath(import.meta.resolve('@pairwise/api/descriptor.binpb'));
  const { file } = encodedFiles.decode(readFileSync(path)) as protobuf.Message & { file: Buffer[] };
  const format = 'Protocol Buffer 3 DescriptorProto';
  const codec = { format, type: {}, fileDescriptorProtos: file } as const;
  new ReflectionService({ files: codec }, { services: [...services] }).addToServer(server);
}
