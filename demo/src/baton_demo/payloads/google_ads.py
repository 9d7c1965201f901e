"""Google Ads lead form: one lead a request, the shared key in the body, ids as big numbers.

Source: developers.google.com/google-ads/webhook/docs (implementation).
"""

from baton_demo.month import Submission, rfc3339
from baton_demo.payloads.wire import Door, Request, dumps, json_request

FORM_ID = 41234567890123
CAMPAIGN_ID = 21098765432


def request(submission: Submission, door: Door, *, now: float) -> Request:
    person, details = submission.person, submission.details
    test = submission.oddity == "test"
    columns = [
        ("FULL_NAME", "Full Name", "FirstName LastName" if test else person.full_name),
        ("EMAIL", "User Email", "test@example.com" if test else person.email),
        ("PHONE_NUMBER", "User Phone", "+16505550123" if test else details.get("phone", "")),
        ("COMPANY_NAME", "Company Name", "CompanyName" if test else details.get("company_name", "")),
        ("JOB_TITLE", "Job Title", "JobTitle" if test else details.get("job_title", "")),
        ("COUNTRY", "Country", details.get("country", "")),
        ("company_size", "Company size", details.get("employees", "")),
    ]
    body = {
        "lead_id": f"CjwKDemo_{submission.id}_opaque",
        "api_version": "1.0",
        "form_id": FORM_ID,
        "campaign_id": CAMPAIGN_ID,
        "adgroup_id": 150123456789 + person.number % 3,
        "creative_id": 700123456789 + person.number % 5,
        "gcl_id": submission.click_id,
        "google_key": door.secret,
        "is_test": test,
        "lead_submit_time": rfc3339(submission.at),
        "user_column_data": [
            {"column_id": column, "string_value": value, "column_name": name}
            for column, name, value in columns
            if value
        ],
    }
    return json_request(door.url, dumps(body))
