"""Renders the templates of corpus.json with transformers and writes the results beside them: pip install transformers jinja2."""

import datetime
import json
import pathlib

from transformers.utils import chat_template_utils


class FixedDay(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


chat_template_utils.datetime = FixedDay
messages = [{"role": "user", "content": "Hi  there"}, {"role": "assistant", "content": "It's fine.\n"}]
path = pathlib.Path(__file__).with_name("corpus.json")
corpus = json.loads(path.read_text())
for case in corpus.values():
    template = chat_template_utils._compile_jinja_template(case["template"])
    try:
        case["rendered"] = template.render(
            messages=messages, tools=None, documents=None, add_generation_prompt=False, bos_token="<s>", eos_token="</s>"
        )
    except Exception:
        case["rendered"] = None
path.write_text(json.dumps(corpus, ensure_ascii=False, indent=2) + "\n")
