import java.util.Arrays;
import org.apache.spark.sql.SparkSession;

/** Prints rows of a partitioned data set as JSON: the data set's folder, what to select, and its files. */
public class Read {
    public static void main(String[] arguments) {
        var spark = SparkSession.builder().master("local[1]").getOrCreate();
        var paths = Arrays.copyOfRange(arguments, 2, arguments.length);
        var table = spark.read().option("basePath", arguments[0]).parquet(paths);
        table.selectExpr(arguments[1].split(";")).toJSON().collectAsList().forEach(System.out::println);
        spark.stop();
    }
}
