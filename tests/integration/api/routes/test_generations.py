"""Generations over real HTTP."""

import asyncio
from collections import Counter

import hypothesis
import hypothesis.strategies as st
import msgspec
from sqlalchemy import text

from domain.generations import acceptance, lifecycle
from domain.templates import catalogue
from runtime import failpoints

BADGE = {"template": "badge", "input": {"label": "A+"}}
PATH = "/v1/generations"


async def accept(api, organization, body=BADGE, **headers):
    async with api.client.post(PATH, json=body, headers=organization.headers | headers) as answer:
        return answer, await answer.json()


async def accept_some(api, organization, count):
    return [(await accept(api, organization))[1]["id"] for _ in range(count)]


async def listed(api, organization, **query):
    async with api.client.get(PATH, params=query, headers=organization.headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def counted(system, table):
    async with system.system_transaction() as tx:
        return await tx.scalar(text(f"select count(*) from {table}"))


async def test_a_request_is_accepted_and_found_again(api, organization):
    answer, accepted = await accept(api, organization, BADGE | {"project": "spring", "metadata": {"order": 7}})
    assert answer.status == 202, accepted
    assert (accepted["status"], accepted["project"], accepted["metadata"]) == ("queued", "spring", {"order": 7})
    assert answer.headers["location"] == f"{PATH}/{accepted['id']}"
    async with api.client.get(answer.headers["location"], headers=organization.headers) as again:
        assert await again.json() == accepted


async def test_a_prompt_alone_is_enough(api, organization):
    answer, accepted = await accept(api, organization, {"prompt": "Autumn sale"})
    assert answer.status == 202, accepted
    assert accepted["input"] == {"prompt": "Autumn sale"}


async def test_what_is_accepted_is_whole_even_when_the_answer_is_lost(api, organization, system):
    failpoints.configure("api.after_commit=raise")
    try:
        answer, problem = await accept(api, organization)
    finally:
        failpoints.configure("")
    assert (answer.status, problem["code"]) == (500, "internal_error")
    assert [await counted(system, table) for table in ("generations", "credit_entries", "pending_events")] == [1, 2, 2]


async def test_the_trace_of_a_request_goes_on_in_its_event(api, organization, system):
    trace = "0af7651916cd43dd8448eb211c80319c"
    _, accepted = await accept(api, organization, traceparent=f"00-{trace}-b7ad6b7169203331-01")
    async with system.system_transaction() as tx:
        kept = await tx.scalar(text("select traceparent from events where subject = :id"), {"id": accepted["id"]})
    assert kept.split("-")[1] == trace


async def test_a_repeated_request_is_done_once_and_answered_byte_for_byte(api, organization, system):
    body = msgspec.json.encode(BADGE)
    headers = organization.headers | {"Idempotency-Key": "order-1", "Content-Type": "application/json"}
    answers = []
    for _ in range(3):
        async with api.client.post(PATH, data=body, headers=headers) as answer:
            assert answer.status == 202
            answers.append((await answer.read(), answer.headers.get("idempotent-replayed")))
    assert [replayed for _, replayed in answers] == [None, "true", "true"]
    assert len({whole for whole, _ in answers}) == 1
    assert await counted(system, "generations") == 1


async def test_the_same_key_for_another_request_is_refused(api, organization):
    await accept(api, organization, **{"Idempotency-Key": "order-1"})
    answer, problem = await accept(api, organization, BADGE | {"project": "x"}, **{"Idempotency-Key": "order-1"})
    assert (answer.status, problem["code"]) == (422, "idempotency_key_reused")


async def test_the_same_key_of_another_organization_is_another_key(api, organization, make_organization):
    other = await make_organization()
    _, one = await accept(api, organization, **{"Idempotency-Key": "order-1"})
    _, two = await accept(api, other, **{"Idempotency-Key": "order-1"})
    assert one["id"] != two["id"]


async def test_a_key_that_is_none_is_refused(api, organization):
    for key in ("", "x" * 256, "kéy"):
        answer, problem = await accept(api, organization, **{"Idempotency-Key": key})
        assert (answer.status, problem["code"]) == (422, "idempotency_key_malformed")


async def test_forty_requests_under_twenty_keys_with_credit_for_nine(api, make_organization, system):
    poor = await make_organization(grant=9)
    done = await asyncio.gather(
        *(accept(api, poor, **{"Idempotency-Key": f"key-{number % 20}"}) for number in range(40))
    )
    assert Counter(answer.status for answer, _ in done) == {202: 18, 402: 22}
    assert len({body["id"] for answer, body in done if answer.status == 202}) == 9
    assert {body["code"] for answer, body in done if answer.status == 402} == {"insufficient_credits"}
    assert [await counted(system, table) for table in ("generations", "idempotency_keys")] == [9, 9]


async def test_many_who_want_the_last_credit_and_one_who_gets_it(api, make_organization):
    poor = await make_organization(grant=1)
    done = await asyncio.gather(*(accept(api, poor) for _ in range(12)))
    assert Counter(answer.status for answer, _ in done) == {202: 1, 402: 11}


async def test_a_refusal_gives_the_key_back(api, make_organization, system):
    poor = await make_organization(grant=0)
    answer, _ = await accept(api, poor, **{"Idempotency-Key": "order-1"})
    assert answer.status == 402
    async with system.system_transaction() as tx:
        await tx.execute(text("update credit_accounts set available = 1"))
    answer, _ = await accept(api, poor, **{"Idempotency-Key": "order-1"})
    assert answer.status == 202


MISFITS = [
    ({}, "generation_invalid", "/template"),
    ({"prompt": "a", "template": "badge"}, "generation_invalid", "/prompt"),
    (BADGE | {"engine": "dalle"}, "engine_unknown", "/engine"),
    (BADGE | {"input": {}}, "template_input_invalid", "/input/label"),
    (BADGE | {"output": {"width": 100_000}}, "body_invalid", "/output/width"),
    (BADGE | {"output": {"format": "gif"}}, "body_invalid", "/output/format"),
    (BADGE | {"output": {"quality": 5}}, "output_invalid", "/output/quality"),
    (BADGE | {"run_at": "tomorrow"}, "body_invalid", "/run_at"),
    (BADGE | {"run_at": "2026-01-01T00:00:00"}, "generation_invalid", "/run_at"),
    (BADGE | {"run_at": "2199-01-01T00:00:00Z"}, "generation_invalid", "/run_at"),
    (BADGE | {"colour": "red"}, "body_invalid", "/colour"),
]


UNBOUNDED = [
    (BADGE | {"project": "x" * 201}, "/project"),
    (BADGE | {"project": "a\nb"}, "/project"),
    (BADGE | {"project": "spring\n"}, "/project"),
    (BADGE | {"project": "a\0b"}, "/project"),
    (BADGE | {"metadata": {f"key {number}": 1 for number in range(51)}}, "/metadata"),
    (BADGE | {"metadata": {"k" * 41: 1}}, "/metadata"),
    (BADGE | {"metadata": {"k": "v" * 501}}, "/metadata"),
    (BADGE | {"metadata": {"k": {"deep": 1}}}, "/metadata"),
    (BADGE | {"metadata": {"k": None}}, "/metadata"),
    (BADGE | {"metadata": {f"key {number}": "漢" * 500 for number in range(11)}}, "/metadata"),
    (BADGE | {"metadata": {"k": "a\0"}}, "/metadata/k"),
    (BADGE | {"metadata": {"k\0": 1}}, "/metadata"),
    ({"template": "badge", "input": {"label": "\0"}}, "/input/label"),
    ({"prompt": ""}, "/prompt"),
    ({"prompt": "x" * 601}, "/prompt"),
    (BADGE | {"run_at": "0001-01-01T00:00:00+14:00"}, "/run_at"),
    (BADGE | {"run_at": "1999-12-31T23:59:59Z"}, "/run_at"),
    (BADGE | {"run_at": "9999-12-31T23:59:59-14:00"}, "/run_at"),
]


async def test_a_field_without_measure_is_refused_and_pointed_at(api, organization):
    for body, pointer in UNBOUNDED:
        answer, problem = await accept(api, organization, body)
        assert (answer.status, problem["errors"][0]["pointer"]) == (422, pointer), str(body)[:200]


async def test_what_is_just_within_bounds_is_accepted_and_a_past_time_means_now(api, organization):
    values = {f"{number:02}" * 20: value for number, value in enumerate(["é" * 500, 1.5, 7, True, "\\u0000"])}
    whole = BADGE | {"project": "x" * 200, "metadata": values, "run_at": "2000-01-01T14:00:00+14:00"}
    answer, accepted = await accept(api, organization, whole)
    assert (answer.status, accepted["status"], accepted["metadata"]) == (202, "queued", values), accepted
    answer, accepted = await accept(api, organization, {"prompt": "x" * 600})
    assert answer.status == 202, accepted


async def test_the_bounds_are_described(api):
    async with api.client.get("/openapi.json") as answer:
        fields = (await answer.json())["components"]["schemas"]["GenerationRequest"]["properties"]
    metadata = fields["metadata"]
    assert (metadata["maxProperties"], metadata["propertyNames"]["maxLength"]) == (50, 40)
    assert next(each["maxLength"] for each in fields["project"]["anyOf"] if each["type"] == "string") == 200
    prompt = catalogue.get(acceptance.PROMPT_TEMPLATE).schema["properties"]["prompt"]
    described = next(each for each in fields["prompt"]["anyOf"] if each["type"] == "string")
    assert all(described[bound] == prompt[bound] for bound in ("minLength", "maxLength"))


TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BODIES = st.fixed_dictionaries(
    {"template": st.just("badge"), "input": st.just({"label": "A"}) | st.dictionaries(TEXT, VALUES, max_size=2)},
    optional={
        "project": TEXT,
        "metadata": st.dictionaries(TEXT, VALUES, max_size=3),
        "run_at": st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()) | TEXT,
    },
)


async def test_whatever_is_sent_is_accepted_or_refused_and_never_a_fault(api, organization):
    loop = asyncio.get_running_loop()

    @hypothesis.settings(max_examples=60, database=None, deadline=None, derandomize=True)
    @hypothesis.given(BODIES)
    def drive(body):
        sent = asyncio.run_coroutine_threadsafe(accept(api, organization, body), loop)
        answer, found = sent.result(timeout=30)
        assert answer.status in {202, 402, 422}, found

    await asyncio.to_thread(drive)


OUTPUTS = [
    ({}, {"format": "png", "width": 256, "height": 256}),
    ({"format": "webp", "scale": 2}, {"format": "webp", "width": 512, "height": 512, "quality": 85}),
    ({"format": "jpeg", "width": 300, "quality": 40}, {"format": "jpeg", "width": 300, "height": 300, "quality": 40}),
    ({"format": "pdf", "width": 100, "height": 50}, {"format": "pdf", "width": 100, "height": 50}),
]


async def test_what_the_image_will_be_is_shown_from_the_first_answer_on(api, organization, system):
    for asked, shown in OUTPUTS:
        _, accepted = await accept(api, organization, BADGE | {"output": asked})
        assert accepted["output"] == shown
        async with api.client.get(f"{PATH}/{accepted['id']}", headers=organization.headers) as again:
            assert await again.json() == accepted
        async with system.system_transaction() as tx:
            query = text("select request -> 'output' from generations where id = :id")
            assert await tx.scalar(query, {"id": accepted["id"]}) == asked, "kept as it came"


async def test_what_does_not_fit_is_pointed_at(api, organization):
    for body, code, pointer in MISFITS:
        answer, problem = await accept(api, organization, body)
        assert (answer.status, problem["code"], problem["errors"][0]["pointer"]) == (422, code, pointer)


async def test_a_template_that_there_is_not(api, organization):
    answer, problem = await accept(api, organization, {"template": "nothing", "input": {}})
    assert (answer.status, problem["code"]) == (404, "template_not_found")


async def test_pages_neither_miss_nor_repeat_what_was_there_when_they_began(api, organization):
    before = await accept_some(api, organization, 7)
    seen, cursor = [], {}
    while True:
        page = await listed(api, organization, limit=2, **cursor)
        seen += [item["id"] for item in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
        await accept_some(api, organization, 2)
    assert seen == before[::-1]


async def test_lists_are_filtered(api, organization):
    await accept(api, organization, BADGE | {"project": "spring"})
    _, later = await accept(api, organization)
    async with api.client.post(f"{PATH}/{later['id']}/cancel", headers=organization.headers):
        pass
    assert [item["project"] for item in (await listed(api, organization, project="spring"))["data"]] == ["spring"]
    assert [item["id"] for item in (await listed(api, organization, status="cancelled"))["data"]] == [later["id"]]
    assert (await listed(api, organization, status="failed"))["data"] == []
    assert (await listed(api, organization, created_after=later["created_at"]))["data"] == []
    assert len((await listed(api, organization, created_before=later["created_at"]))["data"]) == 1


MISFITTING_QUERIES = [
    ({"limit": 0}, "parameter_invalid"),
    ({"limit": 101}, "parameter_invalid"),
    ({"limit": "many"}, "parameter_invalid"),
    ({"status": "odd"}, "parameter_invalid"),
    ({"created_after": "yesterday"}, "parameter_invalid"),
    ({"created_after": "2026-01-01T00:00:00"}, "parameter_invalid"),
    ({"cursor": "nonsense"}, "cursor_invalid"),
    ({"project": "a\0"}, "parameter_invalid"),
    ({"created_after": "0001-01-01T00:00:00+14:00"}, "parameter_invalid"),
    ({"created_before": "9999-12-31T23:59:59-14:00"}, "parameter_invalid"),
]


async def test_a_parameter_that_does_not_fit_is_refused(api, organization):
    for query, code in MISFITTING_QUERIES:
        async with api.client.get(PATH, params=query, headers=organization.headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (422, code), query


async def test_a_cursor_of_one_filter_does_not_serve_another(api, organization):
    await accept_some(api, organization, 3)
    cursor = (await listed(api, organization, limit=1))["next_cursor"]
    query = {"cursor": cursor, "status": "queued"}
    async with api.client.get(PATH, params=query, headers=organization.headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "cursor_invalid")


async def test_a_copy_that_is_still_true_need_not_be_sent_again(api, organization):
    _, accepted = await accept(api, organization)
    where = f"{PATH}/{accepted['id']}"
    async with api.client.get(where, headers=organization.headers) as answer:
        tag = answer.headers["etag"]
    async with api.client.get(where, headers=organization.headers | {"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read(), answer.headers["etag"]) == (304, b"", tag)
    async with api.client.post(f"{where}/cancel", headers=organization.headers):
        pass
    async with api.client.get(where, headers=organization.headers | {"If-None-Match": tag}) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "cancelled")


async def test_cancelling_gives_the_credits_back_and_may_be_repeated(api, organization):
    _, accepted = await accept(api, organization)
    for _ in range(2):
        async with api.client.post(f"{PATH}/{accepted['id']}/cancel", headers=organization.headers) as answer:
            assert (answer.status, (await answer.json())["status"]) == (200, "cancelled")
    async with api.client.get("/v1/usage", headers=organization.headers) as answer:
        credits = (await answer.json())["credits"]
    assert credits == {"available": 100, "held": 0, "spent": 0, "granted": 100}


async def test_what_has_ended_cannot_be_cancelled(api, organization, database):
    _, accepted = await accept(api, organization)
    async with database.transaction(organization.id) as tx:
        await fail(tx, organization, accepted["id"])
    async with api.client.post(f"{PATH}/{accepted['id']}/cancel", headers=organization.headers) as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "generation_over")


async def fail(tx, organization, generation_id):
    cause = lifecycle.log.Cause(generation_id)
    await lifecycle._fail(tx, organization.id, generation_id, code="rendering_failed", detail="no", cause=cause)


async def test_another_organizations_generation_is_no_generation(api, organization, make_organization):
    other = await make_organization()
    _, theirs = await accept(api, other)
    for method, tail in (("GET", ""), ("POST", "/cancel"), ("GET", "/stream")):
        bodies = []
        for generation_id in (theirs["id"], "gen_01jd3v6t2cf5a9x0kqzr8m4n7p"):
            where = f"{PATH}/{generation_id}{tail}"
            async with api.client.request(method, where, headers=organization.headers) as answer:
                assert answer.status == 404
                bodies.append(await answer.json() | {"request_id": ""})
        assert bodies[0] == bodies[1]
        assert bodies[0]["code"] == "generation_not_found"


async def test_who_prefers_to_wait_gets_the_end(api, organization, relay, database):
    waiting = asyncio.create_task(accept(api, organization, Prefer="wait=20"))
    while not (found := (await listed(api, organization))["data"]):
        await asyncio.sleep(0.01)
    async with api.client.post(f"{PATH}/{found[0]['id']}/cancel", headers=organization.headers):
        pass
    answer, ended = await asyncio.wait_for(waiting, 5)
    assert (answer.status, ended["status"]) == (200, "cancelled")
    assert answer.headers["preference-applied"] == "wait=20"


async def test_who_has_waited_long_enough_gets_it_as_it_is(api, organization):
    answer, body = await accept(api, organization, Prefer="wait=1")
    assert (answer.status, body["status"], answer.headers["preference-applied"]) == (202, "queued", "wait=1")
