"""The tables behind the features. A change of any table raises `TABLES_VERSION`: decisions name it."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TABLES_VERSION = 1

FREE_MAIL = _words(
    """
    gmail.com googlemail.com outlook.com hotmail.com hotmail.co.uk hotmail.de hotmail.es hotmail.fr
    hotmail.it live.com live.de msn.com yahoo.com yahoo.co.uk yahoo.de yahoo.es yahoo.fr yahoo.it
    ymail.com rocketmail.com aol.com icloud.com me.com mac.com proton.me protonmail.com pm.me
    tutanota.com tuta.io gmx.de gmx.net gmx.at gmx.ch gmx.com web.de t-online.de freenet.de arcor.de
    posteo.de mailbox.org mail.de mail.com fastmail.com hey.com zoho.com zohomail.com yandex.ru
    yandex.com yandex.by yandex.kz ya.ru mail.ru bk.ru inbox.ru list.ru internet.ru rambler.ru lenta.ru
    autorambler.ru ro.ru ukr.net i.ua meta.ua tut.by wp.pl o2.pl onet.pl interia.pl seznam.cz centrum.cz
    orange.fr free.fr laposte.net wanadoo.fr sfr.fr libero.it virgilio.it tiscali.it alice.it terra.es
    telefonica.net uol.com.br bol.com.br terra.com.br naver.com daum.net hanmail.net qq.com 163.com
    126.com sina.com foxmail.com rediffmail.com bluewin.ch comcast.net verizon.net att.net
    btinternet.com sky.com
    """
)

DISPOSABLE = _words(
    """
    mailinator.com guerrillamail.com guerrillamail.info sharklasers.com 10minutemail.com
    10minutemail.net temp-mail.org tempmail.com tempmail.net tempmailo.com throwawaymail.com
    trashmail.com trashmail.de wegwerfmail.de wegwerfemail.de yopmail.com yopmail.fr getnada.com
    nada.email dispostable.com fakeinbox.com maildrop.cc mailnesia.com mintemail.com mohmal.com
    emailondeck.com spamgourmet.com spam4.me mytemp.email discard.email burnermail.io moakt.com
    tmpmail.org crazymailing.com dropmail.me 1secmail.com minuteinbox.com
    """
)

SHARED_SITES = _words(
    """
    facebook.com fb.com instagram.com linkedin.com lnkd.in twitter.com x.com youtube.com youtu.be tiktok.com
    pinterest.com xing.com vk.com vk.ru vk.me ok.ru t.me telegram.me telegram.org wa.me whatsapp.com dzen.ru
    google.com goo.gl google.ru google.de g.page business.site yandex.net 2gis.ru linktr.ee taplink.cc bit.ly
    github.com github.io gitlab.io medium.com notion.site wordpress.com blogspot.com wixsite.com wix.com
    weebly.com squarespace.com webflow.io jimdo.com jimdosite.com jimdofree.com tilda.ws myshopify.com
    etsy.com amazon.com ebay.com ebay.de avito.ru wildberries.ru ozon.ru hh.ru calendly.com typeform.com
    vercel.app netlify.app herokuapp.com pages.dev web.app firebaseapp.com
    """
)
"""Sites where many firms have a page: what stands there is no firm's own domain."""

ROLE_ADDRESSES = _words(
    """
    info office contact kontakt contacto hello hallo hi mail post admin administrator webmaster support
    help service sales vertrieb ventas marketing press presse billing invoice invoices rechnung
    buchhaltung accounting hr jobs career careers team enquiries inquiries einkauf purchasing noreply
    no-reply donotreply postmaster abuse zakaz sekretariat secretary reception empfang
    """
)

# Word stems in English, German, Russian and Spanish; the first list that holds one of the title's words decides.
JOB_LEVELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "owner",
        (
            "owner",
            "founder",
            "co-founder",
            "cofounder",
            "inhaber",
            "gründer",
            "propietari",
            "fundador",
            "владел",
            "основател",
            "собственник",
        ),
    ),
    (
        "c_level",
        (
            "ceo",
            "cfo",
            "cto",
            "cmo",
            "coo",
            "cio",
            "cro",
            "cso",
            "cpo",
            "chief",
            "geschäftsführ",
            "vorstand",
            "gesellschafter",
            "president",
            "managing director",
            "director general",
            "генеральн",
            "гендир",
            "исполнительный директор",
            "финансовый директор",
            "технический директор",
        ),
    ),
    ("vp", ("vp", "svp", "evp", "vice president", "vicepresident", "вице-президент", "bereichsleit")),
    (
        "director",
        (
            "director",
            "direktor",
            "directora",
            "head",
            "leiter",
            "abteilungsleit",
            "jefe",
            "jefa",
            "директор",
            "начальник",
            "руководител",
        ),
    ),
    (
        "manager",
        ("manager", "lead", "gerente", "teamleit", "менеджер", "supervisor", "coordinator", "referent"),
    ),
    (
        "specialist",
        (
            "specialist",
            "analyst",
            "engineer",
            "developer",
            "consultant",
            "assistant",
            "mitarbeiter",
            "entwickler",
            "berater",
            "ingenieur",
            "especialista",
            "analista",
            "ingenier",
            "desarrollador",
            "специалист",
            "инженер",
            "разработчик",
            "аналитик",
            "administrator",
            "admin",
            "officer",
            "representative",
            "executive",
        ),
    ),
)

JOB_FUNCTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sales", ("sales", "vertrieb", "ventas", "продаж", "account executive", "business development", "cro")),
    ("marketing", ("marketing", "cmo", "growth", "brand", "маркетинг", "mercadotecnia", "seo", "demand")),
    (
        "finance",
        (
            "finance",
            "financ",
            "cfo",
            "accounting",
            "controller",
            "controlling",
            "buchhalt",
            "finanz",
            "бухгалтер",
            "финанс",
            "contab",
        ),
    ),
    ("hr", ("hr", "human resources", "people", "personal", "recruit", "кадр", "recursos humanos", "talent")),
    ("product", ("product", "produkt", "cpo", "продукт", "producto")),
    (
        "engineering",
        (
            "engineer",
            "developer",
            "software",
            "entwickl",
            "разработ",
            "ingenier",
            "desarroll",
            "devops",
            "инженер",
            "ingenieur",
        ),
    ),
    (
        "it",
        (
            "it",
            "cio",
            "cto",
            "edv",
            "system",
            "infrastructure",
            "informatik",
            "ит",
            "информационн",
            "sysadmin",
            "technolog",
            "техническ",
            "security",
        ),
    ),
    (
        "operations",
        (
            "operations",
            "operation",
            "coo",
            "logisti",
            "supply",
            "procurement",
            "einkauf",
            "betrieb",
            "operaciones",
            "операцион",
            "закуп",
            "purchasing",
            "office",
        ),
    ),
)

# Only national domains that stand for a country in practice (no .io, .ai, .co, .me, .tv, …).
TLD_COUNTRY: Mapping[str, str] = {
    "de": "DE", "at": "AT", "ch": "CH", "fr": "FR", "es": "ES", "it": "IT", "nl": "NL", "be": "BE", "pl": "PL",
    "cz": "CZ", "sk": "SK", "hu": "HU", "ro": "RO", "bg": "BG", "gr": "GR", "pt": "PT", "se": "SE", "no": "NO",
    "dk": "DK", "fi": "FI", "ee": "EE", "lv": "LV", "lt": "LT", "ie": "IE", "uk": "GB", "ru": "RU", "by": "BY",
    "kz": "KZ", "ua": "UA", "rs": "RS", "hr": "HR", "si": "SI", "tr": "TR", "jp": "JP", "kr": "KR", "cn": "CN",
    "br": "BR", "mx": "MX", "ar": "AR", "cl": "CL", "pe": "PE", "au": "AU", "nz": "NZ", "za": "ZA", "ca": "CA",
}  # fmt: skip

COUNTRY_NAMES: Mapping[str, str] = {
    name: code
    for code, names in {
        "DE": "germany|deutschland|alemania|германия",
        "AT": "austria|österreich|австрия",
        "CH": "switzerland|schweiz|suiza|швейцария",
        "ES": "spain|spanien|españa|espana|испания",
        "FR": "france|frankreich|francia|франция",
        "IT": "italy|italien|italia|италия",
        "NL": "netherlands|the netherlands|niederlande|países bajos|нидерланды",
        "BE": "belgium|belgien|bélgica|бельгия",
        "PL": "poland|polen|polonia|польша",
        "CZ": "czechia|czech republic|tschechien|чехия",
        "GB": "united kingdom|uk|great britain|england|großbritannien|reino unido|великобритания",
        "IE": "ireland|irland|irlanda|ирландия",
        "US": "united states|united states of america|usa|us|vereinigte staaten|estados unidos|сша",
        "CA": "canada|kanada|canadá|канада",
        "MX": "mexico|méxico|mexiko|мексика",
        "BR": "brazil|brasil|brasilien|бразилия",
        "AR": "argentina|argentinien|аргентина",
        "CL": "chile|чили",
        "CO": "colombia|kolumbien|колумбия",
        "PT": "portugal|португалия",
        "SE": "sweden|schweden|suecia|швеция",
        "NO": "norway|norwegen|noruega|норвегия",
        "DK": "denmark|dänemark|dinamarca|дания",
        "FI": "finland|finnland|finlandia|финляндия",
        "RU": "russia|russian federation|russland|rusia|россия",
        "BY": "belarus|weißrussland|беларусь",
        "KZ": "kazakhstan|kasachstan|казахстан",
        "UA": "ukraine|ucrania|украина",
        "RS": "serbia|serbien|сербия",
        "TR": "turkey|türkei|türkiye|turquía|турция",
        "IN": "india|indien|индия",
        "CN": "china|китай",
        "JP": "japan|japón|япония",
        "AU": "australia|australien|австралия",
        "NZ": "new zealand|neuseeland",
        "ZA": "south africa|südafrika",
        "AE": "united arab emirates|uae|оаэ",
        "IL": "israel|израиль",
        "SG": "singapore|singapur|сингапур",
    }.items()
    for name in names.split("|")
}

LANGUAGES = _words(
    """
    en de ru es fr it pt nl pl cs sk hu ro bg el sv no da fi et lv lt uk be kk tr ar he ja ko zh hi
    """
)

EMPLOYEE_BUCKETS = (5000, 1000, 250, 50, 10, 1)

TIMELINES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "now",
        (
            "now",
            "immediately",
            "asap",
            "this week",
            "this month",
            "sofort",
            "jetzt",
            "ahora",
            "inmediat",
            "сейчас",
            "срочно",
            "этом месяце",
            "1 month",
            "30 days",
        ),
    ),
    (
        "quarter",
        (
            "quarter",
            "1-3 months",
            "3 months",
            "90 days",
            "quartal",
            "trimestre",
            "квартал",
            "3 месяц",
            "3 monate",
            "next month",
        ),
    ),
    ("year", ("year", "3-6 months", "6 months", "6-12 months", "12 months", "jahr", "año", "год", "полугод")),
    (
        "later",
        (
            "later",
            "not sure",
            "just looking",
            "researching",
            "no plan",
            "später",
            "tarde",
            "позже",
            "не знаю",
        ),
    ),
)

CURRENCY_SIGNS: Mapping[str, str] = {"€": "EUR", "$": "USD", "£": "GBP", "₽": "RUB", "руб": "RUB", "eur": "EUR",
                                     "usd": "USD", "gbp": "GBP", "rub": "RUB", "chf": "CHF", "pln": "PLN"}  # fmt: skip
