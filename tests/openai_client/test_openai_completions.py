"""The official `openai` client: completions, whole and streamed, over both engines."""


def test_completion(server):
    answer = server.complete()
    assert answer.object == "text_completion"
    assert answer.id.startswith("cmpl-")
    assert answer.model == server.model
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 16
    assert "".join(chunk.choices[0].text for chunk in server.complete(stream=True)) == answer.choices[0].text


def test_prompts_in_all_forms(server):
    texts = ["Once upon a time", "The sea is"]
    tokens = [server.engine.tokenize(text) for text in texts]
    one = server.complete(prompt=texts[0]).choices[0].text
    many = server.complete(prompt=texts)
    assert [choice.index for choice in many.choices] == [0, 1]
    assert many.choices[0].text == one == server.complete(prompt=tokens[0]).choices[0].text
    assert [choice.text for choice in server.complete(prompt=tokens).choices] == [
        choice.text for choice in many.choices
    ]
    streamed = ["", ""]
    for chunk in server.complete(prompt=texts, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == [choice.text for choice in many.choices]
    assert chunk.usage.total_tokens == many.usage.total_tokens


def test_echo_and_logprobs(server):
    prompt = "Once upon a time"
    plain = server.complete(logprobs=2, max_tokens=6)
    echoed = server.complete(logprobs=2, max_tokens=6, echo=True)
    assert echoed.choices[0].text == prompt + plain.choices[0].text
    logprobs = echoed.choices[0].logprobs
    sizes = {len(getattr(logprobs, name)) for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}
    assert len(sizes) == 1
    assert "".join(logprobs.tokens) == echoed.choices[0].text
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert echoed.choices[0].text[offset : offset + len(token)] == token
    assert logprobs.tokens[-6:] == plain.choices[0].logprobs.tokens
    assert all(len(top) in (2, 3) for top in plain.choices[0].logprobs.top_logprobs)


def test_best_of(server):
    answer = server.complete(best_of=3, n=1, temperature=1, seed=5, max_tokens=8)
    assert len(answer.choices) == 1
    assert answer.usage.completion_tokens > 8
