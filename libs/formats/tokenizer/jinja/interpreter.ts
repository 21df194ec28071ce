import { Environment, Interpreter, type Node, type Value } from './library.ts';
import { binaryOperation, filters } from './operators.ts';
import { textMethods } from './text.ts';
import { Arguments, TemplateError, isMapping, isText, str } from './values.ts';

export class PythonInterpreter extends Interpreter {
  private written: string[] = [];

  render(program: Node): string {
    this.evaluate(program, this.global);
    return this.written.join('');
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    switch (node?.type) {
      case 'Evaluated':
        return node['value'] as Value;
      case 'Output':
        this.written.push(str(this.evaluate(node['expression'] as Node, environment)));
        return nothing;
      case 'Scope':
        return this.evaluate(node['program'] as Node, new Environment(environment));
      case 'Capture':
        return toValue(this.capture(node['program'] as Node, environment));
      case 'Macro':
        return this.macro(node, environment);
      case 'MemberExpression':
        return this.member(node, environment);
      case 'BinaryExpression':
        return this.binary(node, environment);
      case 'FilterExpression':
        return this.filter(node, environment);
      default:
        return super.evaluate(node, environment);
    }
  }

  private capture(program: Node, environment: Environment): string {
    const outside = this.written;
    this.written = [];
    try {
      this.evaluate(program, environment);
      return this.written.join('');
    } finally {
      this.written = outside;
    }
  }

  /** A macro sees the variables of where it stands, not of where it is called; only `caller` comes from there. */
  private macro(node: Node, environment: Environment): Value {
    const result = super.evaluate(node, environment);
    const macro = environment.variables.get((node['name'] as { value: string }).value) as unknown as Callable;
    const call = macro.value;
    macro.value = (given, from) => {
      const scope = new Environment(environment);
      const caller = from.variables.get('caller');
      if (caller) scope.setVariable('caller', caller);
      return call(given, scope);
    };
    return result;
  }

  private member(node: Node, environment: Environment): Value {
    const object = this.evaluate(node['object'] as Node, environment);
    if (object.type === 'UndefinedValue') throw new TemplateError(`${nameOf(node['object'] as Node)} is undefined`);
    const name = node['computed'] === true ? undefined : (node['property'] as { value: unknown }).value;
    if (isText(object)) {
      const text = object.value as string;
      const method = textMethods.get(String(name));
      if (method) return toFunction((given) => toValue(method(text, given)));
      if (node['computed'] === true && (node['property'] as Node).type !== 'SliceExpression') {
        const index = this.evaluate(node['property'] as Node, environment);
        // By characters: the library counts UTF-16 units.
        if (index.type === 'IntegerValue') return toValue(Array.from(text).at(index.value as number));
      }
    }
    // Properties of JavaScript that the library lends to lists and texts.
    if (name === 'length' && !isMapping(object)) return toValue(undefined);
    return super.evaluate({ ...node, object: evaluated(object) }, environment);
  }

  private binary(node: Node, environment: Environment): Value {
    const operator = (node['operator'] as { value: string }).value;
    if (operator === 'and' || operator === 'or') return super.evaluate(node, environment);
    const left = this.evaluate(node['left'] as Node, environment);
    const right = this.evaluate(node['right'] as Node, environment);
    const result = binaryOperation(operator, left, right);
    if (result !== undefined) return toValue(result);
    return super.evaluate({ ...node, left: evaluated(left), right: evaluated(right) }, environment);
  }

  private filter(node: Node, environment: Environment): Value {
    const operand = this.evaluate(node['operand'] as Node, environment);
    const call = node['filter'] as Node;
    const name = ((call['callee'] ?? call) as { value: string }).value;
    const filter = filters.get(name);
    if (filter === undefined) return super.evaluate({ ...node, operand: evaluated(operand) }, environment);
    // A call of a function that returns what it is given, so that the library evaluates the arguments.
    let given = new Arguments([]);
    if (call['args'] !== undefined) {
      const callee = evaluated(toFunction((all) => ((given = all), nothing)));
      this.evaluate({ type: 'CallExpression', callee, args: call['args'] }, environment);
    }
    const result = filter(operand, given);
    if (result !== undefined) return toValue(result);
    return super.evaluate({ ...node, operand: evaluated(operand) }, environment);
  }
}

interface Callable {
  value: (given: Value[], from: Environment) => Value;
}

/** The library's form of a JavaScript value. */
function toValue(value: unknown): Value {
  return new Environment().set('value', value);
}

const nothing = toValue(null);

function toFunction(call: (given: Arguments) => Value): Value {
  const made = toValue(() => null);
  (made as unknown as Callable).value = (given) => call(new Arguments(given));
  return made;
}

function evaluated(value: Value): Node {
  return { type: 'Evaluated', value };
}

function nameOf(node: Node): string {
  return node.type === 'Identifier' ? String(node['value']) : `the value before .${node.type}`;
}
