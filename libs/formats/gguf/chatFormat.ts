export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** Renders messages with the model's chat template; throws if the template refuses them. */
export type RenderChat = (messages: readonly ChatMessage[], options: { addGenerationPrompt: boolean }) => string;

interface Frame {
  prefix: string;
  suffix: string;
}

/** A chat template as the texts around each message. */
export interface ChatFormat {
  /** The text before the first message, if there is no system message. */
  begin: string;
  user: Frame;
  assistant: Frame;
  /** The text after the last message that makes the model answer. */
  generationPrompt: string;
  /** Where the system message goes: a turn of its own, or the start of the first user turn; undefined if it is not possible. */
  system: (Frame & { place: 'own turn' | 'first user turn' }) | undefined;
}

const user = 'pairwise1user';
const assistant = 'pairwise2assistant';
const userAgain = 'pairwise3user';
const system = 'pairwise4system';

/**
 * Finds the format of a chat template by rendering marked messages and reading the text between them. The format is checked
 * against the template on longer conversations. Returns undefined if the texts around messages are not constant.
 */
export function chatFormatOf(render: RenderChat): ChatFormat | undefined {
  const candidates = [withoutSystem(render), fromPrompts(render)];
  const plain = candidates.find((each) => each !== undefined && rendersAlike(render, each, []));
  return plain && { ...plain, system: systemFrame(render, plain) };
}

/** Renders messages in a format, with the generation prompt. */
export function renderFormat(format: ChatFormat, messages: readonly ChatMessage[]): string {
  const given = messages.find(({ role }) => role === 'system');
  const ownTurn = given && format.system?.place === 'own turn' ? framed(format.system, given.content) : undefined;
  const inUser = given && format.system?.place === 'first user turn' ? framed(format.system, given.content) : '';
  const turns = messages.filter(({ role }) => role !== 'system');
  const texts = turns.map(({ role, content }, index) =>
    role === 'user' ? framed(format.user, index === 0 ? inUser + content : content) : framed(format.assistant, content),
  );
  return (ownTurn ?? format.begin) + texts.join('') + format.generationPrompt;
}

function framed({ prefix, suffix }: Frame, content: string): string {
  return prefix + content + suffix;
}

function withoutSystem(render: RenderChat): ChatFormat | undefined {
  const one = pieces(render, [{ role: 'user', content: user }], false);
  const asked = pieces(render, [{ role: 'user', content: user }], true);
  const answered = pieces(render, turnsOf(user, assistant), false);
  const again = pieces(render, turnsOf(user, assistant, userAgain), false);
  if (!one || !asked || !answered || !again) return undefined;
  const userSuffix = one[1]!;
  const assistantSuffix = answered[2]!;
  const generationPrompt = after(asked[1]!, userSuffix);
  const assistantPrefix = after(answered[1]!, userSuffix);
  const userPrefix = after(again[2]!, assistantSuffix);
  if (generationPrompt === undefined || assistantPrefix === undefined || userPrefix === undefined) return undefined;
  const begin = before(one[0]!, userPrefix);
  if (begin === undefined) return undefined;
  return {
    begin,
    user: { prefix: userPrefix, suffix: userSuffix },
    assistant: { prefix: assistantPrefix, suffix: assistantSuffix },
    generationPrompt,
    system: undefined,
  };
}

/**
 * The format as prompts alone show it, with the generation prompt after each: some templates write an end of text after the
 * last message otherwise (Phi 3), or a thought before the last answer (Qwen 3). Where a user's turn ends and an answer
 * begins does not show, and does not matter: the one always follows the other.
 */
function fromPrompts(render: RenderChat): ChatFormat | undefined {
  const asked = pieces(render, turnsOf(user), true);
  const again = pieces(render, turnsOf(user, assistant, userAgain), true);
  if (!asked || !again) return undefined;
  const [first, generationPrompt] = asked;
  const [, assistantPrefix, between] = again;
  let common = 0;
  while (common < first!.length && first!.at(-1 - common) === between!.at(-1 - common)) common += 1;
  const prefix = first!.slice(first!.length - common);
  return {
    begin: first!.slice(0, first!.length - common),
    user: { prefix, suffix: '' },
    assistant: { prefix: assistantPrefix!, suffix: between!.slice(0, between!.length - common) },
    generationPrompt: generationPrompt!,
    system: undefined,
  };
}

function systemFrame(render: RenderChat, plain: ChatFormat): ChatFormat['system'] {
  const seen = pieces(render, [{ role: 'system', content: system }, ...turnsOf(user)], true);
  if (!seen) return undefined;
  const [ahead, between] = [seen[0]!, seen[1]!];
  const suffix = before(between, plain.user.prefix);
  const inside = after(ahead, plain.begin + plain.user.prefix);
  const candidates: ChatFormat['system'][] = [];
  if (suffix !== undefined) candidates.push({ place: 'own turn', prefix: ahead, suffix });
  if (inside !== undefined) candidates.push({ place: 'first user turn', prefix: inside, suffix: between });
  const message: ChatMessage = { role: 'system', content: system };
  return candidates.find((candidate) => rendersAlike(render, { ...plain, system: candidate }, [message]));
}

function rendersAlike(render: RenderChat, format: ChatFormat, first: readonly ChatMessage[]): boolean {
  const conversations = [turnsOf('How?'), turnsOf('How?', 'So.', 'Why?'), turnsOf('a', 'b', 'c', 'd', 'e')];
  return conversations.every((turns) => {
    const messages = [...first, ...turns];
    try {
      return render(messages, { addGenerationPrompt: true }) === renderFormat(format, messages);
    } catch {
      return false;
    }
  });
}

function turnsOf(...contents: string[]): ChatMessage[] {
  return contents.map((content, index) => ({ role: index % 2 === 0 ? 'user' : 'assistant', content }));
}

/** The rendered text, split at the contents of the messages; undefined if the template refuses, repeats or drops one. */
function pieces(
  render: RenderChat,
  messages: readonly ChatMessage[],
  addGenerationPrompt: boolean,
): string[] | undefined {
  let rest: string;
  try {
    rest = render(messages, { addGenerationPrompt });
  } catch {
    return undefined;
  }
  const cut: string[] = [];
  for (const { content } of messages) {
    const parts = rest.split(content);
    if (parts.length !== 2) return undefined;
    cut.push(parts[0]!);
    rest = parts[1]!;
  }
  return [...cut, rest];
}

function after(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) ? text.slice(prefix.length) : undefined;
}

function before(text: string, suffix: string): string | undefined {
  return text.endsWith(suffix) ? text.slice(0, text.length - suffix.length) : undefined;
}
