with

daily as (

    select
        sale_date,
        product_category,
        sum(sales) as sales,
        sum(revenue) as revenue
    from {{ ref('int_sales__daily') }}
    group by sale_date, product_category

),

campaigns as (

    select
        *,
        end_date - start_date + 1 as days
    from {{ ref('stg_marketing__campaigns') }}

),

earned as (

    select
        campaigns.campaign_id,
        sum(daily.sales) filter (where daily.sale_date >= campaigns.start_date) as sales,
        sum(daily.revenue) filter (where daily.sale_date >= campaigns.start_date) as revenue,
        sum(daily.revenue) filter (where daily.sale_date < campaigns.start_date) as revenue_before
    from campaigns
    inner join daily
        on
            daily.sale_date between campaigns.start_date - campaigns.days and campaigns.end_date
            -- A campaign without a category is for the brand: all sales are its own.
            and (campaigns.product_category is null or campaigns.product_category = daily.product_category)
    group by campaigns.campaign_id

)

select
    campaigns.campaign_id,
    campaigns.name,
    campaigns.channel,
    campaigns.product_category,
    campaigns.start_date,
    campaigns.end_date,
    campaigns.days,
    campaigns.budget,
    campaigns.spend,
    {{ percent('campaigns.spend', 'campaigns.budget') }} as budget_used_percent,
    coalesce(earned.sales, 0)::bigint as sales,
    coalesce(earned.revenue, 0) as revenue,
    coalesce(earned.revenue_before, 0) as revenue_before,
    {{ percent('coalesce(earned.revenue, 0) - earned.revenue_before', 'earned.revenue_before') }} as uplift_percent
from campaigns
left join earned on campaigns.campaign_id = earned.campaign_id
