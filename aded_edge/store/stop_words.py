"""Stop words: words that almost every text of a language contains, so that they rank nothing.

Knows lists of a few languages, and which of them a text is written in. Does not know how a text
is searched. Words that are also common names are left out of the lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .tokens import indexed

_LISTS = {
    "en": """
        a about after again all also always am an and any are aren as at be because been
        before being between both but by can cannot could did do does doing don done down
        each even every few first for from get give go good got had has have having he
        hello help her here him his how i if in into is isn it its just know let like ll
        look made make many may me mean might more most much must my need no not now of
        off on one only or other our out over own please put re really right s said same
        say see she should so some something such sure t tell than thank thanks that the
        their them then there these they thing think this those through time to too try
        under until up us use used using ve very want was way we well were what when where
        which while who why will with would write yes yet you your""",
    "de": """
        aber als also am an auch auf aus bei bin bis bist da das dass dein deine dem den
        der des dich die dir doch du ein eine einem einen einer er es euch für hab habe
        haben hast hat hatte hier ich ihm ihn ihr im in ist ja kann kannst kein keine mehr
        mein meine meinem meinen meiner mich mir mit muss nach nicht noch nur oder schon
        sehr sein seine sich sie sind so über um und uns unser von vom vor wann war waren
        warum was wer wie wird wir wo wurde zu zum zur""",
    "fr": """
        à au aux avec c ce ces cette comment d dans de des du elle elles en es est et être
        eu il ils j je l la le les leur lui ma mais me mes moi mon n ne nos notre nous on
        ont où ou par pas plus pour pourquoi qu quand que quel quelle qui quoi s sa sans
        se ses si son sont suis sur ta te tes toi ton tu un une votre vous y ai as avez
        était""",
    "es": """
        al algo como con cual cuando cuándo de del desde donde dónde el en entre era es
        ese eso esta está este esto están fue ha hay la las le les lo los más me mi mis
        mucho muy no nos o para pero por porque que qué quien quién se ser si sin sobre
        son su sus también te tengo tiene tu tus un una y ya yo""",
    "pt": """
        a ao aos as com como da das de do dos e ela ele em entre era essa esse esta está
        este eu foi isso já lhe mais mas me meu minha muito na não nas no nos nós o onde
        os ou para pela pelo por porque quando que quem são se sem ser seu sua também tem
        um uma você""",
    "it": """
        a al alla anche c che chi ci come con cosa da dal dei del della di dove e è ed era
        gli ha ho i il in io l la le lei lo loro ma mi mio nel nella no noi non o per
        perché più qual quale quando quello questo se sei si sono su sua suo ti tra tu un
        una uno voi""",
    "nl": """
        aan al als bij dat de deze die dit door een en er haar had heb hebben heeft het
        hij hoe ik in is je jij kan maar me met mij mijn naar niet nog of om onder ook op
        over te tot uit van veel voor waar waarom wanneer was wat we wel wie wij worden ze
        zijn zij zo""",
    "sv": """
        att av de den det din du där efter eller en ett från för ha han har hon hur i inte
        jag kan med men mig min mitt mycket ni nu när och om på sig sin som så till under
        upp ut vad var varför vem vi vid är""",
    "da": """
        af at de den der det dig din du efter eller en er et for fra ham han har hun hvad
        hvem hvor hvorfor hvordan i ikke jeg kan med meg mig min mit må når og også om op
        på seg sig sin som til ved vi å""",
    "pl": """
        a ale bo był była być ci co czy dla do gdzie i jak jaki jest jestem już ja kiedy
        kto który ma mam mi mnie mój moja na nie o od on ona po się są ta tak to tu ty w z
        za ze że""",
    "tr": """
        ama bana ben bir bu çok da daha de değil en gibi her için ile kim mi mı mu mü
        nasıl ne neden nerede o olan sen şu ve veya ya""",
    "fi": """
        en ei eli et että hän ja jos kun kuka me mikä minä missä mitä mutta ne niin on se
        sinä tai""",
    "ru": """
        а бы был была были было быть в вам вас весь во вот все вы где да для до его ее
        если есть еще же за и из или им их к как какой когда кто ли меня мне мой моя мы на
        не него нет но о он она они от очень по почему с свой со так такой там то только
        ты у уже что чтобы это этот я""",
    "uk": """
        але в ви від він вона де для до є з за і й його коли мені моя мій ми на не про та
        так ти у хто це що як я""",
    "el": """
        αλλά αν από για δεν εγώ είναι εσύ η θα και με μου μας να ο οι πού που πότε πώς πως
        σε στη στην στο στον σου τα την της τι τις το τον του των ένα μια""",
    "ar": """
        في من على إلى عن أن إن هو هي أنا أنت ما ماذا هل أين متى كيف لماذا لا لم هذا هذه
        ذلك التي الذي كان مع أو ثم قد و""",
    "fa": """
        و در به از که این آن را با است برای من تو او ما شما چه چرا کجا کی هم یک می""",
    "he": """
        של את על אל לא כן הוא היא אני אתה מה מי איפה מתי איך למה זה זאת גם או אם עם יש אין
        כי כל""",
    "hi": """
        है हैं का की के को में से पर और यह वह मैं मेरा मेरी मेरे तुम आप क्या कहाँ कब कैसे
        क्यों कौन था थी थे हो नहीं भी तो एक इस उस ने""",
}  # fmt: skip

# In scripts without spaces stop words stand inside of sentences.
_WITHIN = """
    的 了 是 在 我 你 他 她 它 们 這 这 那 有 和 与 就 都 也 不 吗 嗎 呢 吧 啊 着 么 什么 什麼 怎么
    怎麼 哪里 哪裡 哪 谁 誰 几 幾 很 我们 你们 他们 请 可以 多少 为什么 時候 时候
    です ます でした ました した して する いる ある から まで ない なに どこ いつ だれ どう これ
    それ あれ この その には では とは ください を 何 誰
    입니다 습니다 어디 무엇 언제 누가 어떻게 있어요 있습니까 에서 으로
    ที่ และ เป็น ของ ใน มี ได้ ไม่ ว่า จะ นี้ ไหม อะไร ที่ไหน เมื่อไหร่ ครับ ค่ะ คือ ผม ฉัน คุณ
    ແມ່ນ ຢູ່ ໃສ ຂອງ ແລະ ខ្ញុំ គឺ នៅ ណា របស់ និង តើ သည် ကို မှာ ဘယ်
""".split()  # noqa: SIM905  (a list of this many literals would fill two screens)

_BY_LANGUAGE = {
    language: frozenset(word for typed in words.split() for word in indexed(typed).split())
    for language, words in _LISTS.items()
}
_PATTERN = "|".join(sorted((re.escape(indexed(word)) for word in _WITHIN), key=len, reverse=True))
_STOPS_WITHIN = re.compile(rf"(?<!\S)(?:{_PATTERN})(?!\S)")


def stop_words(words: Iterable[str]) -> frozenset[str]:
    """The stop words of the language that these words are written in, as far as can be told.

    It is the language with the most stop words among them, English before others. A word that
    stands alone is a stop word of English only, so that a name is found.
    """
    said = set(words)
    counts = {language: len(said & listed) for language, listed in _BY_LANGUAGE.items()}
    most = max(counts.values())
    if counts["en"] == most:
        return _BY_LANGUAGE["en"]
    if len(said) == 1:
        return frozenset()
    return frozenset().union(*(_BY_LANGUAGE[one] for one in counts if counts[one] == most))


def parts_between(run: str) -> list[str]:
    """A run of letters without spaces (joined by spaces), cut where stop words stand."""
    return [part.strip() for part in _STOPS_WITHIN.split(run) if part.strip()]
