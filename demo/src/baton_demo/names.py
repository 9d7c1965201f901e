"""Names, firms and job titles in four languages: the raw material of the month. All of them are invented."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Locale:
    """How people and firms of one language look. `countries` and `titles` carry weights."""

    first: tuple[str, ...]
    last: tuple[str, ...]
    firms: tuple[str, ...]
    trades: tuple[str, ...]
    top_domain: Mapping[str, str]
    countries: Mapping[str, int]
    free_mail: tuple[str, ...]
    titles: Mapping[str, int]
    messages: tuple[str, ...]


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


LOCALES: Mapping[str, Locale] = {
    "de": Locale(
        first=_list(
            "Anna, Jonas, Katharina, Lukas, Miriam, Stefan, Birgit, Tobias, Svenja, Matthias, Heike, Jürgen, Lena, "
            "Florian, Nadine, Oliver, Petra, Sebastian, Ulrike, Daniel"
        ),
        last=_list(
            "Brandt, Vogel, Köhler, Schäfer, Lindner, Winkler, Böhm, Seidel, Haas, Krämer, Jansen, Pohl, Engel, "
            "Arnold, Busch, Thiel, Sauer, Ebert, Rösler, Kuhn"
        ),
        firms=_list(
            "Nordhaff, Elbkante, Rheinmark, Albstein, Hanseforge, Isarwald, Lahntor, Weserblick, Maintor, Harzquell, "
            "Donaufeld, Saaleck, Havelbrück, Moselkamm, Neckarhain"
        ),
        trades=_list("Maschinenbau, Logistik, Medizintechnik, Energie, Verlag, Werkzeuge, Handel, Anlagenbau"),
        top_domain={"DE": "de", "AT": "at", "CH": "ch"},
        countries={"DE": 78, "AT": 12, "CH": 10},
        free_mail=("gmx.de", "web.de", "gmail.com", "t-online.de"),
        titles={
            "Geschäftsführer": 8,
            "Leiter Vertrieb": 11,
            "Leiterin Marketing": 11,
            "Head of Sales Operations": 7,
            "Marketing Manager": 14,
            "Teamleiterin Vertrieb": 8,
            "Referent Einkauf": 6,
            "Vertriebsmitarbeiter": 9,
            "IT-Administrator": 7,
            "Werkstudent": 5,
        },
        messages=_list(
            "Wir suchen eine Lösung für die Übergabe von Leads an den Vertrieb, Bitte um Rückruf am Vormittag, "
            "Können Sie uns ein Angebot machen?, Uns interessiert die Anbindung an HubSpot"
        ),
    ),
    "en": Locale(
        first=_list(
            "Emma, Oliver, Grace, Thomas, Hannah, James, Sophie, Daniel, Lucy, William, Rachel, Peter, Megan, Simon, "
            "Claire, Andrew, Natalie, Robert, Helen, Mark"
        ),
        last=_list(
            "Ashworth, Bennett, Crawford, Dalton, Ellison, Fletcher, Garner, Holloway, Ingram, Kirby, Langley, "
            "Merrick, Norwood, Prescott, Radcliffe, Sheridan, Thornton, Underhill, Whitlock, Yates"
        ),
        firms=_list(
            "Brackenfield, Northlea, Harbourstone, Wexcombe, Calderbrook, Ridgemont, Silverbeck, Oakmere, Tarnside, "
            "Fenwick Vale, Millhaven, Stonebridge Row, Larkhill, Ambleford, Copperdale"
        ),
        trades=_list("Logistics, Analytics, Manufacturing, Health, Foods, Networks, Supplies, Publishing"),
        top_domain={"GB": "co.uk", "US": "com"},
        countries={"GB": 60, "US": 40},
        free_mail=("gmail.com", "outlook.com", "yahoo.com", "icloud.com"),
        titles={
            "CEO": 7,
            "VP Sales": 9,
            "Director of Marketing": 10,
            "Head of Revenue Operations": 9,
            "Marketing Manager": 15,
            "Sales Operations Manager": 10,
            "Procurement Coordinator": 5,
            "Sales Representative": 9,
            "Systems Administrator": 7,
            "Student": 5,
        },
        messages=_list(
            "We need our reps to see leads within minutes, Please call me before noon, What would this cost for 40 "
            "seats?, Does it connect to Pipedrive?"
        ),
    ),
    "ru": Locale(
        first=_list(
            "Ольга, Дмитрий, Екатерина, Алексей, Марина, Сергей, Наталья, Игорь, Светлана, Павел, Юлия, Андрей, "
            "Ирина, Михаил, Елена, Виктор"
        ),
        last=_list(
            "Соколов, Морозов, Волков, Лебедев, Козлов, Новиков, Егоров, Орлов, Макаров, Никитин, Захаров, Зайцев, "
            "Беляев, Громов, Тарасов, Жуков"
        ),
        firms=_list(
            "Североток, Вектор Плюс, Росинтра, Балтмера, Техносфера Юг, Волгаснаб, Уралпривод, Медиалинк, Алтынкан, "
            "Контурсвязь"
        ),
        trades=_list("Логистика, Энерго, Медиа, Трейд, Системы"),
        top_domain={"RU": "ru", "KZ": "kz", "DE": "de", "PL": "pl"},
        countries={"RU": 42, "KZ": 14, "DE": 28, "PL": 16},
        free_mail=("yandex.ru", "mail.ru", "gmail.com"),
        titles={
            "Генеральный директор": 10,
            "Коммерческий директор": 12,
            "Директор по маркетингу": 12,
            "Руководитель отдела продаж": 14,
            "Менеджер по маркетингу": 12,
            "Менеджер по продажам": 10,
            "Специалист по закупкам": 6,
            "Системный администратор": 6,
        },
        messages=_list(
            "Интересует интеграция с CRM, Перезвоните после обеда, Сколько стоит на 25 пользователей?, "
            "Нужна демонстрация для команды"
        ),
    ),
    "es": Locale(
        first=_list(
            "Lucía, Javier, Carmen, Álvaro, Marta, Sergio, Elena, Pablo, Nuria, Diego, Raquel, Andrés, Beatriz, Iván"
        ),
        last=_list(
            "Navarro, Ortega, Castaño, Iglesias, Pardo, Salvador, Rincón, Montes, Herrero, Cuesta, Barrios, Peña, "
            "Llorente, Quintana"
        ),
        firms=_list(
            "Solmarina, Altozano, Ríoclaro, Montealto, Valdeluz, Puertonorte, Lindaraja, Peñafuerte, Costabrisa, "
            "Vegaverde"
        ),
        trades=_list("Logística, Energía, Salud, Alimentación, Industrial, Medios"),
        top_domain={"ES": "es", "MX": "mx"},
        countries={"ES": 80, "MX": 20},
        free_mail=("gmail.com", "hotmail.es", "yahoo.es"),
        titles={
            "Directora general": 9,
            "Director de Ventas": 12,
            "Directora de Marketing": 12,
            "Jefe de Operaciones": 9,
            "Marketing Manager": 12,
            "Especialista en Ventas": 10,
            "Analista": 7,
            "Estudiante": 4,
        },
        messages=_list(
            "Queremos medir qué campañas venden, Llámenme por la tarde, ¿Cuánto cuesta para 30 usuarios?, "
            "Necesitamos una demostración"
        ),
    ),
}

LANGUAGE_WEIGHTS: Mapping[str, int] = {"de": 44, "en": 28, "es": 16, "ru": 12}

_LATIN = str.maketrans(
    {
        "ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "á": "a", "é": "e", "í": "i", "ó": "o", "ú": "u", "ñ": "n",
        "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ё": "e", "ж": "zh", "з": "z", "и": "i", "й": "y",
        "к": "k", "л": "l", "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f",
        "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "sch", "ъ": "", "ы": "y", "ь": "", "э": "e", "ю": "yu",
        "я": "ya",
    }
)  # fmt: skip


def latin(text: str) -> str:
    """`text` in lower-case ASCII letters, digits and hyphens: what stands in an address."""
    spelled = text.lower().translate(_LATIN)
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in spelled).strip("-")


def feminine(last: str, first: str) -> str:
    """A Russian surname as it goes with the first name."""
    return last + "а" if first[-1] in "ая" else last


# Ranges that regulators keep for fiction, where there are any.
_NUMBERS = {
    "GB": "+44 20 7946 0{:03d}",
    "US": "+1 415 555 0{:03d}",
    "RU": "+7 495 555-{:02d}-{:02d}",
    "ES": "+34 600 55 {:02d} {:02d}",
    "MX": "+52 55 5555 {:02d}{:02d}",
    "KZ": "+7 727 355 {:02d} {:02d}",
    "PL": "+48 22 555 {:02d} {:02d}",
    "AT": "+43 1 555{:02d}{:02d}",
    "CH": "+41 44 555 {:02d} {:02d}",
}


def phone(country: str, number: int, *, national: bool) -> str:
    """The `number`-th phone of a country. `national`: as people in Germany write it; elsewhere always with `+`."""
    if country == "DE":
        area = ("30 23125 {:03d}" if number % 2 else "40 66969 {:03d}").format(number // 2 % 1000)
        return f"0{area}" if national else f"+49 {area}"
    pattern = _NUMBERS[country]
    return pattern.format(number % 1000) if ":03d" in pattern else pattern.format(number // 100 % 100, number % 100)
