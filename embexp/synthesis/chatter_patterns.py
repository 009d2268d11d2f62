"""How language models refuse and talk about their task, in the languages that people write documents in.

No pattern may match what somebody would type into a search box: "according to the text" is chatter,
"according to section 5" is not. All patterns apply to all texts, since models chat in other languages than
they are asked in. They are in lower case, as the texts are that they are compared with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_LEAD = r"[\w ]{0,16}[!,.:;—–]"
_DE = (
    r"text(?:es|s|abschnitts?|auszugs?|passage|stelle)?|abschnitt(?:s|es)?|passage|dokument(?:s|es)?"
    r"|auszug(?:s|es)?|ausschnitt(?:s|es)?|kontext(?:es|s)?"
)
_ES = r"texto|pasaje|fragmento|documento|extracto|contexto|párrafo"
_FR = r"texte|passage(?! (?:piéton|à niveau|protégé))|extrait|document|contexte|paragraphe"
_IT = r"testo|brano|passaggio(?! a livello)|estratto|documento|contesto|paragrafo"
_PT = r"texto|trecho|passagem|fragmento|documento|contexto|parágrafo|excerto"
_NL = r"tekst|passage|tekstfragment|document|alinea|context"
_RU = r"(?:текст|отрыв|фрагмент|документ|абзац|контекст)\w*"
_PL = r"(?:tekst|fragment|dokument|akapit|kontekst)\w*"
_ZH = r"文本|文章|段落|文段|短文|文档|上下文|材料|内容|片段|文字"
_JA = r"文章|テキスト|一節|段落|パッセージ|抜粋|文書|本文|文脈"
_KO = r"글|텍스트|지문|본문|단락|문단|구절|발췌문|문서"

REFUSALS = (
    # German
    r"\bals (?:ki|künstliche intelligenz|sprachmodell|ki-\w+|großes sprachmodell)\b",
    r"\b(?:tut mir (?:sehr )?leid|entschuldigung|ich bedau[e]?re),? (?:aber )?(?:ich|das|dass|dabei)\b",
    r"\bich kann (?:ihnen |dir |euch |dabei |hierbei |das |leider |hier )*nicht (?:weiter)?(?:helfen|beantw)",
    # Spanish
    r"\bcomo (?:modelo de lenguaje|(?:una )?(?:ia|inteligencia artificial)\b|asistente (?:de ia|virtual))",
    r"\b(?:lo siento|lo lamento|disculp[ae]|perdón),? (?:pero )?(?:no (?:puedo|me es posible)|como)\b",
    r"\bno puedo (?:ayudar|asistir|responder|cumplir)\w* (?:con|a) (?:eso|esto|esa|esta)\b",
    # French
    r"\ben tant qu['’e] ?(?:ia\b|intelligence artificielle|modèle de langage|assistant)",
    r"\bdésolée?,? (?:mais )?je ne (?:peux|suis)\b|\bje ne peux pas (?:vous |t['’])aider\b",
    # Italian, Portuguese
    r"\bcome (?:modello linguistico|(?:una )?(?:ia|intelligenza artificiale)\b|assistente (?:ai|virtuale))",
    r"\bmi dispiace,? (?:ma )?(?:non posso|come)\b|\bnon posso aiutar(?:ti|la) con\b",
    r"\bcomo (?:um )?modelo de linguagem|\bcomo (?:uma )?inteligência artificial",
    r"\b(?:desculpe|sinto muito|lamento),? (?:mas )?(?:eu )?não (?:posso|consigo)\b",
    # Dutch, Polish, Russian
    r"\bals (?:ai\b|kunstmatige intelligentie|taalmodel)|\bhet spijt me,? (?:maar )?(?:ik|dat)\b",
    r"\bjako (?:model językowy|sztuczna inteligencja)|\bprzepraszam,? (?:ale )?nie mogę\b",
    r"\bкак (?:языковая модель|искусственный интеллект|ии\b)",
    r"\b(?:извините|простите|к сожалению|сожалею),? (?:но )?я не могу\b",
    # Chinese, Japanese, Korean
    r"作为(?:一[个名位款])?(?:人工智能|ai|大?语言模型|智能助手)",
    r"(?:抱歉|对不起|不好意思)[，,、。！!]?\s*(?:但是?)?我?(?:们)?(?:不能|无法|没办法)",
    r"我(?:无法|不能)(?:回答|提供|协助|帮助|满足|处理)(?:这|该|此|您|你)",
    r"(?:申し訳|すみません|ごめんなさい).{0,24}(?:できません|できかねます|お答え|お手伝い)",
    r"(?:ai|人工知能|言語モデル)として",
    r"(?:죄송합니다|죄송하지만|미안하지만).{0,24}(?:없습니다|어렵습니다)",
    r"(?:ai|인공지능|언어 ?모델)(?:로서|으로서)",
)
CHATTER = (
    # German
    rf"^(?:natürlich|gerne?|selbstverständlich|klar|okay){_LEAD}",
    r"^(?:hier (?:sind|ist|kommen)|im folgenden|nachfolgend|anbei)\b",
    r"\b(?:laut|gemäß|zufolge|entsprechend|basierend auf|auf (?:der )?grundlage|anhand) "
    rf"(?:des|der|de[mn]|dieses|dieser|diesem) (?:\w+en )?(?:{_DE})\b|\blaut (?:text|passage|kontext)\b",
    rf"\b(?:im|in|aus|der|die|das|dem|den|des) (?:dem |der |diesem |dieser )?"
    rf"(?:obig|vorliegend|gegeben|genannt|angegeben|bereitgestellt|zitiert)e[nmrs]? (?:{_DE})\b",
    r"\bdies(?:er|em|en|es|e) (?:\w+en )?"
    r"(?:(?:text)?abschnitt(?:s|es)?|text(?:es|s)?|passage|textstelle|auszug(?:s|es)?)\b",
    rf"\bwas (?:sagt|steht|beschreibt|erklärt|erwähnt) (?:der|die|das|im|in) (?:der |dem )?(?:{_DE})\b",
    rf"\bim (?:{_DE}) (?:\w+ ){{0,2}}(?:erwähnt|genannt|beschrieben|angegeben|erläutert)",
    # Spanish
    rf"^¡?(?:claro|por supuesto|desde luego|con gusto|perfecto){_LEAD}",
    r"^(?:aquí (?:tienes?|están?|van?)|a continuación)\b",
    r"\b(?:según|de acuerdo (?:con|a)|conforme a|basad[oa]s? en|con base en|en base a)l? "
    rf"(?:el |este |dicho )?(?:(?:presente|siguiente) )?(?:{_ES})\b",
    r"\b(?:este|el presente|dicho|el siguiente) (?:texto|pasaje|fragmento|extracto|párrafo)\b",
    rf"\ben (?:el|este) (?:{_ES}) (?:anterior|dado|proporcionado|siguiente|citado|mencionado)\b",
    rf"\bqué (?:dice|menciona|describe|explica|afirma|indica|trata) (?:el|este) (?:{_ES})\b",
    rf"\b(?:mencionad|descrit|indicad|citad)[oa]s? en (?:el|este) (?:{_ES})\b",
    # French
    rf"^(?:bien sûr|certainement|volontiers|d['’]accord){_LEAD}|^(?:voici|ci-dessous)\b",
    rf"\b(?:selon|d['’]après|conformément au|basée?s? sur) (?:le |l['’]|ce |cet )?(?:{_FR})\b",
    r"\b(?:ce|cet|le présent) (?:texte|passage(?! (?:piéton|à niveau|protégé))|extrait|paragraphe)\b",
    rf"\bque (?:dit|décrit|mentionne|explique) (?:le |l['’]|ce |cet )(?:{_FR})\b",
    rf"\b(?:{_FR}) (?:ci-dessus|fourni|donné|précédent)\b",
    # Italian, Portuguese
    rf"^(?:certo|certamente|volentieri){_LEAD}|^(?:ecco|di seguito)\b",
    rf"\b(?:secondo|in base al?|stando al?) (?:il |questo |il presente )?(?:{_IT})\b",
    r"\b(?:questo|il presente) (?:testo|brano|passaggio(?! a livello)|estratto|paragrafo)\b",
    rf"\bcosa (?:dice|descrive|afferma|menziona) (?:il|questo) (?:{_IT})\b",
    rf"^(?:claro|certamente|com certeza){_LEAD}|^(?:aqui (?:estão|está|vão)|a seguir)\b",
    rf"\b(?:segundo|de acordo com|conforme|com base n?[oe]m?) (?:o |este |esse |no |neste )?(?:{_PT})\b",
    r"\b(?:este|esse|o presente) (?:trecho|parágrafo|excerto)\b",
    rf"\bo que (?:diz|descreve|menciona|afirma) (?:o|este) (?:{_PT})\b",
    # Dutch, Polish, Russian
    rf"^(?:natuurlijk|zeker|uiteraard){_LEAD}|^hier (?:zijn|volgen)\b",
    rf"\bvolgens (?:de|het|deze|dit) (?:{_NL})\b|\b(?:deze|dit) (?:tekst|passage|tekstfragment|alinea)\b",
    rf"\b(?:bovenstaande|onderstaande|gegeven) (?:{_NL})\b",
    rf"^oczywiście{_LEAD}|^(?:oto|poniżej)(?: \w+){{0,3}} \w*pyta\w*",
    rf"\b(?:według|zgodnie z|na podstawie) (?:tego |tym |powyższ\w+ |podan\w+ )?{_PL}",
    rf"\b(?:ten|tym|tego|powyższ\w+) {_PL}",
    rf"^(?:конечно|разумеется|хорошо){_LEAD}|^(?:вот|ниже)(?: \w+){{0,3}} (?:вопрос|запрос)\w*",
    rf"\b(?:согласно|на основ(?:е|ании)|исходя из|в соответствии с) "
    rf"(?:(?:данн|эт|привед[её]нн|предоставленн)\w+ )?{_RU}",
    rf"\b(?:этот|этом|этого|данный|данном|данного|привед[её]нн\w+) {_RU}",
    # Chinese
    r"^(?:好的|当然(?:可以)?|没问题)[，,。！!：:]|^(?:以下|下面|这里)(?:是|为|列出)",
    rf"(?:根据|依据|基于|按照)(?:该|这|本|此|上述|以上|所给|给定|所?提供的?|上面的?)(?:的)?(?:一?[段篇份个])?(?:{_ZH})",
    r"(?:根据|依据)(?:文本|文章|段落|文段|短文|文中|上下文|原文|上文)",
    r"(?:这|该|本|上)(?:一)?[段篇](?:文字|文本|文章|话|内容|短文|段落)|(?:该|本|上述|以上|这个)(?:段落|文段|文本|片段)",
    r"(?:文|段落|文章|文本)中(?:提到|所述|所提|描述|说明|指出|介绍|是如何|怎么说|讲了)",
    r"(?:上文|原文|本文)(?:提到|所述|描述|说明|指出|介绍|中)|(?:文章|文本|段落|文段)(?:主要)?(?:讲|说了|介绍|描述)",
    r"(?:该|此|上述)文档(?:说明|介绍|描述|提到|中)",
    # Japanese, Korean
    r"^(?:もちろん|承知し|かしこまり|以下(?:は|に|が)|こちらが)",
    rf"(?:この|本|上記の|与えられた|提供された|提示された)(?:{_JA})",
    rf"(?:{_JA})(?:によると|によれば|に基づ|では何|で述べ|で説明)",
    r"^물론(?:입니다|이죠)?[,.! ]|^(?:다음은|아래는)",
    rf"(?:이|본|위|위의|주어진|제공된|해당) (?:{_KO})(?:에 따르면|에서|은|는|의|을|를)",
    r"(?:본문|지문|텍스트)에 따르면",
)


@cache
def refusal_pattern() -> re.Pattern[str]:
    """Return the pattern of refusals in other languages than English, for a text in lower case."""
    return _any_of(REFUSALS)


@cache
def chatter_pattern() -> re.Pattern[str]:
    """Return the pattern of talk about the task in other languages than English, for a text in lower case."""
    return _any_of(CHATTER)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return one pattern, six times as fast as the patterns one after another.

    Those of a beginning are tried there alone, those of a word where one begins. Without ``IGNORECASE``, re
    sees by its first letter that a pattern does not match. The alternatives of a pattern begin alike.
    """
    starts, words, others = [], [], []
    for pattern in patterns:
        if pattern.startswith("^"):
            starts.append(pattern[1:])
        elif pattern.startswith(r"\b"):
            words.append(pattern[2:])
        else:
            others.append(pattern)
    groups = [("^", starts), (r"\b", words), ("", others)]
    return re.compile("|".join(f"{anchor}(?:{'|'.join(group)})" for anchor, group in groups if group))
