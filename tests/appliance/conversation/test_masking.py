from __future__ import annotations

from pathlib import Path

import pytest

from appliance.conversation.masking import Masker
from appliance.conversation.wordlists import WordListErrors, load_words

MASKER = Masker(load_words())


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("call 0911223344 now", "call *** now"),
        ("+251 911 22 33 44", "***"),
        ("09-11-22-33-44", "***"),
        ("0.9.1.1.2.2.3.3.4.4", "***"),
        ("٠٩١١٢٢٣٣٤٤", "***"),
        ("０９１１２２３３４４", "***"),
        ("⓪⑨①①②②③③④④", "***"),
        ("0️⃣9️⃣1️⃣1️⃣2️⃣2️⃣3️⃣", "***"),
        ("09\u200b11\u200b22\u200b33\u200b44", "***"),
        ("09ll 22 33 44", "***"),
        ("፱፻፲፩ ፳፪ ፴፫ ፵፬", "***"),
        ("፱፩፩፪፪፫፫፬፬", "***"),
        ("nine one one two two three three", "***"),
        ("nine double one 22 three 3 four four", "***"),
        ("ዘጠኝ አንድ አንድ ሁለት ሁለት ሶስት ሦስት", "***"),
        ("sagal tokko tokko lama lama sadii sadii", "***"),
        ("moja mbili tatu nne tano sita saba", "***"),
        ("09:11 22:33 44:55", "***"),
        ("see t.me/abc and www.x.y", "see *** and ***"),
        ("me@mail.com", "***"),
        ("me (at) mail (dot) com", "***"),
        ("my site foo dot com ok", "my site *** ok"),
        ("@my_name here", "*** here"),
        ("telegram abe_be7", "***"),
        ("telegram is good", "telegram is good"),
        ("I paid 1,250.00 birr on 12/05/2026", "I paid 1,250.00 birr on 12/05/2026"),
        ("on 12/05/2026 10:30 or 13/05/2026 11:00", "on 12/05/2026 10:30 or 13/05/2026 11:00"),
        ("at 10:30 with 3 friends", "at 10:30 with 3 friends"),
        ("in 2018 and 2019 and 2020", "in 2018 and 2019 and 2020"),
        ("one day I saw two cows, I do", "one day I saw two cows, I do"),
        ("ፋሲካ በ፳፻፲፰ ነበር", "ፋሲካ በ፳፻፲፰ ነበር"),
    ],
)
def test_hide_takes_out_what_leads_to_a_person(text: str, masked: str) -> None:
    assert MASKER.hide(text) == masked


def test_load_words_every_mistake_is_told(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text(
        'language = "en"\nconfidence = "high"\ndigits = [["zero"]]\nmasked = [""]\n'
    )
    (tmp_path / "am.toml").write_text('language = "en"\nconfidence = "low"\n')
    (tmp_path / "om.toml").write_text("language = [")
    (tmp_path / "ti.toml").write_text('language = "ti"\nconfidence = "low"\nwomans = []\n')
    with pytest.raises(WordListErrors) as errors:
        load_words(tmp_path)
    told = [line.split(":")[0] + ":" + line.split(":")[1] for line in errors.value.lines]
    assert told == ["am.toml: language", "en.toml: digits", "en.toml: masked", *told[3:]] and len(told) == 5
