import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Template } from '@huggingface/jinja';
import { describe, expect, test } from 'vitest';
import { chatFormatOf, modelfile, renderFormat } from './index.ts';
import { ollamaTemplate } from './modelfile.ts';
import type { ChatMessage, RenderChat } from './index.ts';

/** Renders a chat template with Hugging Face's library. */
function renderer(jinja: string): RenderChat {
  const template = new Template(jinja);
  return (messages, { addGenerationPrompt }) =>
    template.render({
      messages: messages.map(({ role, content }) => ({ role, content })),
      add_generation_prompt: addGenerationPrompt,
      bos_token: '<s>',
      eos_token: '</s>',
    });
}

const templates = {
  chatml:
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}{% endif %}" +
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  llama3:
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}" +
    '{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}' +
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
  llama2:
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}" +
    "{{ bos_token }}{% for message in rest %}{% if message['role'] == 'user' %}{{ '[INST] ' }}{% if loop.first %}{{ system }}{% endif %}{{ message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}",
  mistral:
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}" +
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}",
  markers:
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}",
  phi3:
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}",
  qwen3:
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}" +
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ message['content'] + '<|im_end|>\\n' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  // The texts around messages are not constant.
  counting: "{% for message in messages %}{{ loop.index|string + ': ' + message['content'] + '\\n' }}{% endfor %}",
};

const conversation: ChatMessage[] = [
  { role: 'user', content: 'What is red?' },
  { role: 'assistant', content: 'A colour.' },
  { role: 'user', content: 'And "blue" {{ .System }}?' },
];

describe('chat formats', () => {
  test.each(['chatml', 'llama3', 'llama2', 'markers', 'phi3', 'qwen3'] as const)(
    '%s has a format with a system message',
    (name) => {
      const render = renderer(templates[name]);
      const format = chatFormatOf(render)!;
      const withSystem: ChatMessage[] = [{ role: 'system', content: 'Be brief.' }, ...conversation];
      for (const messages of [conversation, withSystem]) {
        expect(renderFormat(format, messages)).toBe(render(messages, { addGenerationPrompt: true }));
      }
      expect(format.system?.place).toBe(name === 'llama2' ? 'first user turn' : 'own turn');
    },
  );

  test('mistral has a format without a system message', () => {
    expect(chatFormatOf(renderer(templates.mistral))).toEqual({
      begin: '<s>',
      user: { prefix: '[INST] ', suffix: ' [/INST]' },
      assistant: { prefix: '', suffix: '</s>' },
      generationPrompt: '',
      system: undefined,
    });
  });

  test('a template whose texts are not constant, or that refuses a lone user message, has no format', () => {
    expect(chatFormatOf(renderer(templates.counting))).toBeUndefined();
    expect(chatFormatOf(() => 'always the same')).toBeUndefined();
    const refusing = () => {
      throw new Error('a system message is required');
    };
    expect(chatFormatOf(refusing)).toBeUndefined();
  });
});

/** Executes a Modelfile's TEMPLATE as Ollama does: with the messages, and the system message once more by itself. */
const goProgram = `package main

import ("encoding/json"; "os"; "strings"; "text/template")

type message struct{ Role, Content string }

func main() {
	var cases []struct { Template string; Messages []message }
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil { panic(err) }
	texts := []string{}
	for _, each := range cases {
		var text strings.Builder
		system := ""
		for _, m := range each.Messages { if m.Role == "system" { system = m.Content } }
		data := map[string]any{"System": system, "Messages": each.Messages, "Response": ""}
		if err := template.Must(template.New("").Parse(each.Template)).Execute(&text, data); err != nil { panic(err) }
		texts = append(texts, text.String())
	}
	json.NewEncoder(os.Stdout).Encode(texts)
}
`;
const hasGo = spawnSync('go', ['version']).status === 0;
if (!hasGo) console.warn('SKIPPED: the Modelfile templates are not executed, because Go is not on this machine');

test.skipIf(!hasGo)(
  'Go makes of a Modelfile what the chat template makes of the messages',
  () => {
    const withSystem: ChatMessage[] = [{ role: 'system', content: 'Be brief.' }, ...conversation];
    const cases = Object.values(templates).flatMap((jinja) => {
      const render = renderer(jinja);
      const format = chatFormatOf(render);
      if (format === undefined) return [];
      const template = ollamaTemplate(format, '<s>');
      const conversations = format.system === undefined ? [conversation] : [conversation, withSystem];
      return conversations.map((messages) => {
        const text = render(messages, { addGenerationPrompt: true });
        return { template, messages, wanted: text.startsWith('<s>') ? text.slice(3) : text };
      });
    });
    const folder = mkdtempSync(join(tmpdir(), 'pairwise-go-'));
    try {
      writeFileSync(join(folder, 'main.go'), goProgram);
      const input = JSON.stringify(cases.map(({ template, messages }) => ({ template, messages })));
      const { stdout, stderr } = spawnSync('go', ['run', 'main.go'], { cwd: folder, input, encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toEqual(cases.map(({ wanted }) => wanted));
      expect(cases.length).toBeGreaterThan(10);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
  120_000,
);

describe('Modelfiles', () => {
  const fileFor = (name: keyof typeof templates, stops: string[]) =>
    modelfile({ gguf: 'm-Q8_0.gguf', chat: chatFormatOf(renderer(templates[name])), bosAddedByModel: '<s>', stops });

  test('a template with markers', () => {
    expect(fileFor('markers', ['<|user|>', '</s>'])).toBe(
      'FROM ./m-Q8_0.gguf\n' +
        'TEMPLATE """{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}' +
        '{{ if eq .Role "system" }}<|system|>\n{{ .Content }}\n' +
        '{{ else if eq .Role "user" }}<|user|>\n{{ .Content }}\n' +
        '{{ else if eq .Role "assistant" }}<|assistant|>\n{{ .Content }}{{ if not $last }}\n{{ end }}{{ end }}' +
        '{{ if and $last (ne .Role "assistant") }}<|assistant|>\n{{ end }}{{ end }}"""\n' +
        'PARAMETER stop "<|user|>"\n' +
        'PARAMETER stop "</s>"\n',
    );
  });

  test('a default system message of the template is used only without one of the user', () => {
    expect(fileFor('chatml', [])).toContain(
      'TEMPLATE """{{ if not .System }}<|im_start|>system\nYou are kind.<|im_end|>\n{{ end }}{{ range',
    );
  });

  test('a bos token that llama.cpp adds is not in the template', () => {
    expect(fileFor('llama2', [])).not.toContain('<s>');
    expect(fileFor('llama3', [])).not.toContain('<s>');
    const kept = modelfile({ gguf: 'm.gguf', chat: chatFormatOf(renderer(templates.mistral)), stops: [] });
    expect(kept).toContain('TEMPLATE """<s>{{ range');
  });

  test('a system message inside the first user turn', () => {
    expect(fileFor('llama2', [])).toContain(
      '[INST] {{ if and $.System (eq $i 1) }}<<SYS>>\n{{ $.System }}\n<</SYS>>\n\n{{ end }}{{ .Content }} [/INST]',
    );
  });

  test('plain text and unknown formats', () => {
    expect(modelfile({ gguf: 'm.gguf', chat: 'plain text', stops: ['</s>'] })).toBe(
      'FROM ./m.gguf\nTEMPLATE "{{ .Prompt }}"\nPARAMETER stop "</s>"\n',
    );
    expect(modelfile({ gguf: 'm.gguf', chat: undefined, stops: [] })).toMatch(/^FROM .\/m.gguf\n# No TEMPLATE/);
  });

  test('texts that would end the quotes early are refused', () => {
    expect(() => modelfile({ gguf: 'm.gguf', chat: 'plain text', stops: ['a"""\nb'] })).toThrow('cannot contain');
    expect(modelfile({ gguf: 'm.gguf', chat: 'plain text', stops: ['say "stop" now'] })).toContain(
      '"""say "stop" now"""',
    );
  });
});
