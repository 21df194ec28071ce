import type { Attribute, Constant, External, Graph, Node, Value } from './graph.ts';
import {
  type AttributeProto,
  AttributeProto_AttributeType as AttributeType,
  type GraphProto,
  ModelProto,
  type NodeProto,
  type TensorProto,
  TensorProto_DataLocation as DataLocation,
  type TensorShapeProto_Dimension,
  type ValueInfoProto,
} from './gen/onnx.ts';
import type { Dim } from './dims.ts';
import { dtypes, constantBytes } from './dtypes.ts';
import { lower } from './lower.ts';

/** Every execution provider has kernels for operator set 21. */
const opset = 21;
const irVersion = 10;

/**
 * Encodes a graph as an ONNX `ModelProto`: only operators of the default domain, constants inline, weights as external data.
 * The same graph always gives the same bytes.
 */
export function encodeModel(graph: Graph): Uint8Array<ArrayBuffer> {
  const model: ModelProto = {
    irVersion,
    producerName: 'pairwise',
    graph: graphProto(graph),
    opsetImport: [{ domain: '', version: opset }],
  };
  return ModelProto.encode(model).finish();
}

function graphProto(graph: Graph): GraphProto {
  const { nodes, constants, outputs } = lower(graph);
  return {
    node: nodes.map(nodeProto),
    name: graph.name,
    initializer: [...constants.map(constantProto), ...graph.externals.map(externalProto)],
    input: graph.inputs.map(valueProto),
    output: outputs.map(valueProto),
  };
}

function nodeProto({ inputs, outputs, name, op, attributes }: Node): NodeProto {
  return {
    input: inputs.map((input) => input?.name ?? ''),
    output: outputs.map((output) => output.name),
    name,
    opType: op,
    attribute: Object.entries(attributes).map(([key, attribute]) => ({ name: key, ...typed(attribute) })),
  };
}

function typed(attribute: Attribute): AttributeProto {
  if (typeof attribute === 'number') return { i: attribute, type: AttributeType.INT };
  if (isList(attribute)) return { ints: attribute, type: AttributeType.INTS };
  if ('graph' in attribute) return { g: graphProto(attribute.graph), type: AttributeType.GRAPH };
  if ('float' in attribute) return { f: attribute.float, type: AttributeType.FLOAT };
  return { s: new TextEncoder().encode(attribute.text), type: AttributeType.STRING };
}

function isList(attribute: object): attribute is readonly number[] {
  return Array.isArray(attribute);
}

/** Of a constant or a weight, whose sizes are all numbers. */
function tensorProto({ name, dtype, shape }: Value): TensorProto {
  return { name, dataType: dtypes[dtype].code, dims: shape as readonly number[] };
}

function constantProto({ value, data }: Constant): TensorProto {
  return { ...tensorProto(value), rawData: constantBytes(value.dtype, data) };
}

function externalProto({ value, data }: External): TensorProto {
  const externalData = Object.entries(data).map(([key, entry]) => ({ key, value: String(entry) }));
  return { ...tensorProto(value), externalData, dataLocation: DataLocation.EXTERNAL };
}

function valueProto({ name, dtype, shape }: Value): ValueInfoProto {
  const tensor = { elemType: dtypes[dtype].code, shape: { dim: shape.map(dimension) } };
  return { name, type: { value: { $case: 'tensorType', value: tensor } } };
}

function dimension(dim: Dim): TensorShapeProto_Dimension {
  return { value: typeof dim === 'number' ? { $case: 'dimValue', value: dim } : { $case: 'dimParam', value: dim } };
}
