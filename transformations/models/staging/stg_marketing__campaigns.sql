select
    campaign_id,
    name,
    channel,
    product_category,
    start_date,
    end_date,
    budget,
    spend,
    contact_email
from {{ source('marketing', 'campaigns') }}
