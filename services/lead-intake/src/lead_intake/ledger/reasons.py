"""Why an entry did not become a lead, in a closed list: what each code means and what to do next, EN and RU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lead_intake.importing.row import CODES
from lead_intake.spam import SPAM


@dataclass(frozen=True, slots=True)
class Reason:
    """One code. `repair` says whether a replay can help once the remedy is done."""

    code: str
    repair: bool
    en: str
    remedy_en: str
    ru: str
    remedy_ru: str


_SENDER_EN: Final = "The sender is at fault: mend its request; it sends again. Nothing of the delivery was kept."
_SENDER_RU: Final = "Ошибка на стороне отправителя: исправьте запрос, он придёт снова. Тело не сохранено."
_BROKEN_EN: Final = (
    "Look at it with `baton receipts show`; mend the form tool. If the body is right, report it, then replay."
)
_BROKEN_RU: Final = (
    "Посмотрите `baton receipts show` и исправьте настройку формы. Если тело верное, сообщите нам и повторите."
)
_MAPPING_EN: Final = "Name the fields in the source's mapping (`baton source try --receipt …`), save it, then replay."
_MAPPING_RU: Final = "Укажите поля в сопоставлении источника (`baton source try --receipt …`), сохраните и повторите."
_SPAM_EN: Final = "If it is a person after all: `baton receipts replay ID --release`. Otherwise leave it."
_SPAM_RU: Final = "Если это живой человек: `baton receipts replay ID --release`. Иначе оставьте как есть."

_LOOKUP_EN: Final = (
    "See whether the record exists at the provider and the token may read it; then `baton receipts retry`."
)
_LOOKUP_RU: Final = "Проверьте, есть ли запись у провайдера и права токена, затем `baton receipts retry`."
_FAULT_EN: Final = "The provider's answer is not what it documents: report it, then `baton receipts retry`."
_FAULT_RU: Final = "Ответ провайдера не такой, как в документации: сообщите нам, затем `baton receipts retry`."
_NOTHING_EN: Final = "Nothing to do; choose fewer events at the provider."
_NOTHING_RU: Final = "Ничего делать не нужно; сократите список событий у провайдера."

_ALL: Final = (
    # --- refused at the door: nothing is kept but the count, except where the signature alone was wrong
    Reason(
        "signature", True,
        "The signature or the secret is wrong.",
        "Compare the secret with the provider's; add the right one (`baton source` or POST …/secrets), then replay "
        "what was kept. What is forged never passes.",
        "Неверная подпись или секрет.",
        "Сверьте секрет с провайдером, добавьте верный и повторите сохранённое. Подделка не пройдёт.",
    ),
    Reason("content_encoding", False, "The body is encoded.", _SENDER_EN, "Тело запроса сжато.", _SENDER_RU),
    Reason("too_large", False, "The body is above 256 KiB.", _SENDER_EN, "Тело больше 256 КиБ.", _SENDER_RU),
    Reason("too_slow", False, "The body came too slowly.", _SENDER_EN, "Тело пришло слишком медленно.", _SENDER_RU),
    Reason("sender_went_away", False, "The sender hung up.", _SENDER_EN, "Отправитель прервал запрос.", _SENDER_RU),
    Reason(
        "handshake", False,
        "The provider's question was not answered: the verify token is wrong.",
        "Enter the verify token of the source at the provider again.",
        "Проверочный запрос провайдера отклонён: неверный токен проверки.",
        "Введите у провайдера токен проверки источника ещё раз.",
    ),
    # --- bodies that cannot be read
    Reason("content_type", True, "The content type is not known.", _BROKEN_EN, "Неизвестный тип содержимого.",
           _BROKEN_RU),
    Reason("charset", True, "The text is not in the charset that it names.", _BROKEN_EN,
           "Текст не в той кодировке, что указана.", _BROKEN_RU),
    Reason("not_json", True, "The body is no JSON.", _BROKEN_EN, "Тело не является JSON.", _BROKEN_RU),
    Reason("not_an_object", True, "The JSON is no object.", _BROKEN_EN, "JSON не является объектом.", _BROKEN_RU),
    Reason("too_deep", True, "The body is nested too deeply.", _BROKEN_EN, "Слишком глубокая вложенность.", _BROKEN_RU),
    Reason("too_many_fields", True, "The body has too many fields.", _BROKEN_EN, "Слишком много полей.", _BROKEN_RU),
    Reason("too_many_entries", True, "One request holds too many entries.", _BROKEN_EN,
           "Слишком много записей в одном запросе.", _BROKEN_RU),
    Reason("empty", True, "The body holds nothing.", _BROKEN_EN, "Пустое тело.", _BROKEN_RU),
    Reason("multipart", True, "The multipart body is broken.", _BROKEN_EN, "Повреждённое тело multipart.", _BROKEN_RU),
    Reason("user_column_data", True, "Google's column data are missing.", _BROKEN_EN,
           "Нет данных user_column_data.", _BROKEN_RU),
    Reason("no_form_response", True, "Typeform's form_response is missing.", _BROKEN_EN,
           "Нет form_response.", _BROKEN_RU),
    Reason("answers", True, "Typeform's answers are no list.", _BROKEN_EN, "answers не является списком.", _BROKEN_RU),
    Reason("no_fields", True, "Tally's fields are missing.", _BROKEN_EN, "Нет полей формы Tally.", _BROKEN_RU),
    Reason("changes", True, "Meta's changes are no list.", _BROKEN_EN, "changes не является списком.", _BROKEN_RU),
    Reason("entry", True, "The provider's entry is missing.", _BROKEN_EN, "Нет entry.", _BROKEN_RU),
    Reason("no_lead_id", True, "The delivery names no lead.", _BROKEN_EN, "В уведомлении нет номера лида.", _BROKEN_RU),
    Reason(
        "fault", True,
        "A fault of ours on this body.",
        "Report it with the receipt's id; after the update, replay.",
        "Ошибка на нашей стороне.",
        "Сообщите нам номер квитанции; после обновления повторите.",
    ),
    Reason(
        "not_storable", True,
        "The database refused a value.",
        "Report it with the receipt's id; after the update, replay.",
        "База данных не приняла значение.",
        "Сообщите нам номер квитанции; после обновления повторите.",
    ),
    # --- entries that can be read and make no lead
    Reason("no_identity", True, "Neither e-mail nor phone was found.", _MAPPING_EN,
           "Не найдены ни e-mail, ни телефон.", _MAPPING_RU),
    Reason(
        "needs_lookup", True,
        "The delivery names a record and does not hold it.",
        "Let the provider's workflow send the fields, or give the source its access token, then replay.",
        "Уведомление называет запись, но не содержит её.",
        "Настройте отправку полей или дайте источнику токен доступа, затем повторите.",
    ),
    Reason(
        "privacy_deletion", False,
        "The provider tells that a person wants to be forgotten.",
        "Forget the person here as well.",
        "Провайдер сообщает, что человек просит удалить данные.",
        "Удалите данные человека и здесь.",
    ),
    Reason(
        "not_a_lead", False,
        "An event that tells of no inquiry.",
        "Nothing to do; choose fewer events at the provider.",
        "Событие не содержит обращения.",
        "Ничего делать не нужно; сократите список событий у провайдера.",
    ),
    Reason("not_an_inquiry", False, "An event that tells of no inquiry.", _NOTHING_EN,
           "Событие не содержит обращения.", _NOTHING_RU),
    Reason("no_touch", False, "A tracker's call that tells of no visit.", _NOTHING_EN,
           "Вызов трекера не сообщает о визите.", _NOTHING_RU),
    Reason("nobody_known", False, "Something is told of somebody who is not known here.", _NOTHING_EN,
           "Сообщение о человеке, которого здесь не знают.", _NOTHING_RU),
    Reason(
        "waits_for_lead", False,
        "A row of an export names a lead that is not here yet.",
        "Import the leads: the row is taken then. After BATON_IMPORT_WAIT_DAYS it is refused.",
        "Строка выгрузки называет лида, которого здесь ещё нет.",
        "Импортируйте лидов, и строка будет принята. Через BATON_IMPORT_WAIT_DAYS она будет отклонена.",
    ),
    Reason(
        "forgotten", False,
        "The person was forgotten while the export was under way.",
        "Nothing to do.",
        "Данные человека удалены, пока выгрузка обрабатывалась.",
        "Ничего делать не нужно.",
    ),
    Reason(
        "told_on", False,
        "More was told of a known person; it was no contact with marketing.",
        "Nothing to do.",
        "О знакомом человеке сообщили новое; касания при этом не было.",
        "Ничего делать не нужно.",
    ),
    Reason("bot", False, "The visitor calls itself a robot.", _NOTHING_EN,
           "Посетитель называет себя роботом.", _NOTHING_RU),
    Reason(
        "rate", False,
        "A tracking source sent more than it may.",
        "The library sends again; raise BATON_TRACKING_A_SECOND if it is real traffic.",
        "Источник трекинга превысил допустимую частоту.",
        "Библиотека повторит вызов; при реальном трафике увеличьте BATON_TRACKING_A_SECOND.",
    ),
    Reason("canceled", False, "A booking was cancelled.", _NOTHING_EN, "Встреча отменена.", _NOTHING_RU),
    Reason("rescheduled", False, "The other half of a booking that was moved.", _NOTHING_EN,
           "Вторая половина перенесённой встречи.", _NOTHING_RU),
    Reason(
        "erase_requested", False,
        "The provider tells that a person wants to be forgotten.",
        "It is on the list of persons to be forgotten.",
        "Провайдер сообщает, что человек просит удалить данные.",
        "Запрос стоит в списке на удаление.",
    ),
    # --- lookups at the provider that brought nothing
    Reason(
        "fetch_expired", True,
        "The lookup waited too long.",
        "Mend the token (`baton doctor` names the source), then `baton receipts retry --reason fetch_expired`.",
        "Запрос к провайдеру ждал слишком долго.",
        "Исправьте токен (`baton doctor` назовёт источник), затем `baton receipts retry --reason fetch_expired`.",
    ),
    Reason("fetch_malformed", True, "The provider's answers could not be read.", _FAULT_EN,
           "Ответы провайдера не читаются.", _FAULT_RU),
    Reason("answer_too_large", True, "The provider's answer is too large.", _FAULT_EN,
           "Ответ провайдера слишком велик.", _FAULT_RU),
    Reason("request_refused", True, "The provider refuses the question.", _FAULT_EN,
           "Провайдер отклоняет запрос.", _FAULT_RU),
    Reason("id_not_usable", False, "The lead's id is no id of this provider.", _FAULT_EN,
           "Номер лида не похож на номер этого провайдера.", _FAULT_RU),
    Reason("not_found", True, "The provider does not know the record.", _LOOKUP_EN,
           "Провайдер не знает этой записи.", _LOOKUP_RU),
    Reason("lead_not_found", True, "The provider does not know the lead.", _LOOKUP_EN,
           "Провайдер не знает этого лида.", _LOOKUP_RU),
    Reason("contact_not_found", True, "The provider does not know the contact.", _LOOKUP_EN,
           "Провайдер не знает этого контакта.", _LOOKUP_RU),
    Reason("form_not_found", True, "The provider does not know the form.", _LOOKUP_EN,
           "Провайдер не знает этой формы.", _LOOKUP_RU),
    Reason("http_error", True, "The provider answers the question with an HTTP error.", _FAULT_EN,
           "Провайдер отвечает ошибкой HTTP.", _FAULT_RU),
    # --- kept apart on suspicion
    Reason(SPAM.HONEYPOT, True, "The field that people do not see was filled in.", _SPAM_EN,
           "Заполнено поле, невидимое людям.", _SPAM_RU),
    Reason(SPAM.DISPOSABLE, True, "The address is of a throw-away mailbox.", _SPAM_EN,
           "Адрес одноразовой почты.", _SPAM_RU),
    Reason(SPAM.SOURCE_RATE, True, "More entries in a minute than the source allows.", _SPAM_EN,
           "Больше записей в минуту, чем допускает источник.", _SPAM_RU),
    Reason(SPAM.ADDRESS_RATE, True, "The same address came too often in an hour.", _SPAM_EN,
           "Один и тот же адрес слишком часто за час.", _SPAM_RU),
)  # fmt: skip

_OF_IMPORTS: Final = {
    code: Reason(
        code, False,
        f"A row of an export: {meaning}.",
        "Correct the row, or import the leads it names first, then import the file again.",
        "Строка выгрузки не принята.",
        "Исправьте строку или сначала импортируйте лидов, затем импортируйте файл ещё раз.",
    )
    for code, meaning in CODES.items()
}  # fmt: skip

REASONS: Final[Mapping[str, Reason]] = _OF_IMPORTS | {reason.code: reason for reason in _ALL}

UNKNOWN: Final = Reason(
    "unknown", True,
    "A code of another version.",
    "Look at it with `baton receipts show`.",
    "Код другой версии.",
    "Посмотрите `baton receipts show`.",
)  # fmt: skip
"""Stands in for a code that this version does not list, so that a list never fails on it."""


def reason_of(code: str) -> Reason:
    """The reason of a code; `http_404` and its like are one, and what this version does not list is unknown."""
    return REASONS["http_error"] if code.startswith("http_") else REASONS.get(code, UNKNOWN)
